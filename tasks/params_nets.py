"""The settings about nets and how they learn."""

from pydantic import Field

from tasks.params_data import Section


class Train(Section):
    """The optimiser, shared by teacher, baseline and students."""

    batch: int = Field(ge=1, le=65536, description="Labeled images per step.")
    lr: float = Field(gt=0, le=100, description="Peak learning rate (SGD with Nesterov momentum).")
    momentum: float = Field(ge=0, lt=1, description="Momentum of SGD.")
    weight_decay: float = Field(ge=0, le=1, description="L2 decay, on convolution and linear weights.")
    warmup: int = Field(ge=0, description="Steps of linear warm-up; a cosine to zero follows.")
    ema: float = Field(
        ge=0, lt=1, description="Decay of the averaged net, the one that labels and is evaluated. 0 = off."
    )
    label_smoothing: float = Field(
        ge=0, lt=1, description="Smoothing of the labeled loss (soft pseudo-labels get none)."
    )
    clip: float = Field(ge=0, description="Largest norm of the gradient. 0 = off.")
    checkpoint_every: int = Field(ge=1, description="Steps between checkpoints: what a kill can cost.")


class Noise(Section):
    """Input noise. It is on while a net learns and never while it labels."""

    num_ops: int = Field(ge=0, le=16, description="RandAugment N: operations per image. 0 = off.")
    magnitude: float = Field(ge=0, le=40, description="RandAugment M in the paper's scale: M/10 of the range.")
    crop: int = Field(ge=0, le=128, description="Pixels of reflected border before a random crop. 0 = off.")
    flip: bool = Field(description="Mirror half of the images. Off for digits and letters.")
    cutout: int = Field(ge=0, le=512, description="Side of the erased square in pixels. 0 = off.")


class Net(Section):
    """One net and its training."""

    net: str = Field(
        min_length=1,
        description="lenet5, alexnet, vgg11, vgg16 (as published; `alexnet_small`, `vgg11_small`, `vgg16_small` for "
        "small images), resnet9, wrn10, wrn10mp, wrn16, wrn28, or `torchvision/NAME`.",
    )
    width: int = Field(ge=1, le=64, description="Widening factor: how a student is made larger than its teacher.")
    steps: int = Field(ge=1, description="Optimiser steps.")
    dropout: float = Field(ge=0, lt=1, description="Dropout before the last layer.")
    stochastic_depth: float = Field(
        ge=0, lt=1, description="Chance to skip the last residual block; earlier ones linearly less."
    )
    noise: Noise = Field(description="Input noise while this net learns.")


class Student(Net):
    """A net that also learns from the pseudo-labels of its round."""

    ratio: int = Field(ge=1, le=64, description="Pseudo-labeled images per labeled image in a step.")


class Distilled(Student):
    """A small net that learns what the champion believes."""

    temperature: float = Field(
        ge=1,
        le=100,
        description="Softens champion and net alike: more of what the champion thinks of the other classes.",
    )
    labels: bool = Field(
        description="Also learn the labeled images' own classes, at temperature 1. false = match the champion alone."
    )
    images: int = Field(ge=1, description="Most images of the pool to ask the champion about, drawn at random.")
