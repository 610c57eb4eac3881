"""The settings about nets and how they learn."""

from typing import Any, Literal

from pydantic import Field, model_validator

from tasks.nets.names import AUTO, TIMM, TORCHVISION, WIDEST
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
    accumulate: int = Field(
        ge=1,
        le=1024,
        description="Equal parts a step's images are taken in, one after the other: memory for time. Batch norm sees "
        "one part at a time. 1 = all at once.",
    )
    processes: int = Field(
        ge=1,
        le=64,
        description="Processes on this machine that share a step's parts; `accumulate` must be a multiple of it. What "
        "is learnt depends on `accumulate` alone, but for rounding.",
    )
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        description="Number format of the forward pass; weights stay float32. `auto`: bfloat16 where the hardware "
        "multiplies it, so another machine may give another net."
    )
    compile: bool = Field(
        description="torch.compile: a minute or more at the start (C++ compiler needed), then faster."
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        description="Where nets learn. `auto`: the GPU where there is one. Equal bytes are promised on the CPU alone."
    )
    checkpoint_every: int = Field(ge=1, description="Steps between checkpoints: what a kill can cost.")

    def recipe(self) -> dict[str, Any]:
        """What of this belongs to a net's recipe: all but how it is kept and who helps."""
        return self.model_dump(exclude={"checkpoint_every", "processes"})

    @model_validator(mode="after")
    def _parts_are_equal(self) -> "Train":
        if self.batch % self.accumulate:
            raise ValueError(f"train.accumulate: {self.accumulate} does not divide train.batch ({self.batch}) evenly")
        if self.accumulate % self.processes:
            raise ValueError(
                f"train.processes: {self.processes} cannot share the {self.accumulate} parts of a step evenly; "
                f"set train.accumulate to a multiple of {self.processes}"
            )
        if self.processes > 1 and self.device != "cpu":
            raise ValueError(f"train.processes: {self.processes} share a net on the CPU only; set train.device to cpu")
        return self


class Stop(Section):
    """When more steps no longer help."""

    patience: int = Field(
        ge=0,
        description="Looks in a row at images kept aside without a better one, after which training ends. 0 = off.",
    )
    every: int = Field(ge=1, description="Steps from one look to the next.")
    share: float = Field(
        gt=0, lt=1, description="Share of each class's labeled images kept aside for it: the net does not learn them."
    )


class Noise(Section):
    """Input noise. It is on while a net learns and never while it labels."""

    num_ops: int = Field(ge=0, le=16, description="RandAugment N: operations per image. 0 = off.")
    magnitude: float = Field(ge=0, le=40, description="RandAugment M in the paper's scale: M/10 of the range.")
    crop: int = Field(ge=0, le=128, description="Pixels of reflected border before a random crop. 0 = off.")
    flip: bool = Field(description="Mirror half of the images. Off for digits and letters.")
    cutout: int = Field(ge=0, le=512, description="Side of the erased square in pixels. 0 = off.")
    rotate: float = Field(ge=0, le=180, description="Degrees an image is turned at most, either way. 0 = off.")
    shear: float = Field(ge=0, le=1, description="Share of its side an image is slanted by at most. 0 = off.")
    perspective: float = Field(
        ge=0, le=0.5, description="How far corners move inwards at most, in half sides. 0 = off."
    )
    brightness: float = Field(
        ge=0, le=1, description="Brightness changes by a factor of 1 - this to 1 + this. 0 = off."
    )
    mixup: float = Field(ge=0, le=10, description="mixup: images are blended, shares from Beta(this, this). 0 = off.")
    cutmix: float = Field(
        ge=0, le=10, description="CutMix: a box shows another image, share from Beta(this, this). 0 = off."
    )
    size: int = Field(
        ge=0, le=4096, description="Pixels a side at which this net learns; it is used at `image.size`. 0 = the same."
    )


class FixRes(Section):
    """Last steps for the head and the last batch norm, on clean labeled images of full size."""

    steps: int = Field(ge=0, description="Steps after training. 0 = off.")
    lr: float = Field(gt=0, le=100, description="Their first learning rate; a cosine to zero follows.")


class Consistency(Section):
    """A student's own beliefs as targets, instead of the stored ones."""

    method: Literal["none", "fixmatch", "mean_teacher"] = Field(
        description="What a student learns of pool images. `none`: the round's labels. `fixmatch`: the class it gives "
        "a weak view (crop and flip alone) where it is sure. `mean_teacher`: what its average over time believes of a "
        "weak view. Pool images are those the round keeps: `curate.threshold: 0.0` with `per_class: null` keeps all."
    )
    threshold: float = Field(ge=0, le=1, description="`fixmatch`: least confidence of the weak view's class.")
    ramp: float = Field(ge=0, le=1, description="`mean_teacher`: share of the steps in which its weight rises to full.")
    weight: float = Field(
        gt=0, le=100, description="Weight of these targets beside the labels; `none` has no use for it."
    )


class Start(Section):
    """What a net has learnt before it learns here; for nets that start from nothing the rest has no effect."""

    weights: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="`none`: random weights. `imagenet`: the newest trained weights of `torchvision/NAME` or "
        "`timm/NAME`, fetched once. Any other name: a .safetensors (or torchvision's .pth) file in `data/start`, or "
        "a folder there with the `weights.safetensors` and `card.json` of a net of understudy's. The head is new "
        "unless that net knew the same classes.",
    )
    backbone: Literal["train", "frozen"] = Field(
        description="`frozen`: all but the head stays as it is, batch norm statistics too; each image goes through it "
        "once, without noise, and what it sees is kept under .work/features."
    )
    backbone_lr: float = Field(
        gt=0, le=1, description="Learning rate of the last layer before the head, in rates of the head (`train`)."
    )
    layer_decay: float = Field(
        gt=0,
        le=1,
        description="Rate of each layer further down, in rates of the one above it (`train`). 1 = all alike.",
    )
    unfreeze_every: int = Field(
        ge=0,
        description="Steps until one more layer may learn, the head first, then the last one before it, and so on "
        "(`train`). 0 = all from the start.",
    )
    views: int = Field(
        ge=1,
        le=1000,
        description="`frozen`: looks at each image. 1 = as it is, and `noise` has no effect; more: also that many less "
        "one under `noise`, drawn once.",
    )

    @model_validator(mode="after")
    def _has_learnt_something(self) -> "Start":
        if self.backbone == "frozen" and self.weights == "none":
            raise ValueError(
                "start.backbone: frozen leaves a net as it starts, and with start.weights: none it has learnt nothing; "
                "name weights, or set it to train"
            )
        return self


class Net(Section):
    """One net and its training."""

    net: str = Field(
        min_length=1,
        description="lenet5, alexnet, vgg11, vgg16 (as published; `alexnet_small`, `vgg11_small`, `vgg16_small` for "
        "small images), resnet9, wrn10, wrn10mp, wrn16, wrn28, `torchvision/NAME`, or `timm/NAME` where timm "
        "is installed. Of a student also `auto`: its "
        "teacher's family, larger by `grow`.",
    )
    width: int = Field(
        ge=1,
        le=WIDEST,
        description="Widening factor: how a student is made larger than its teacher. `net: auto` finds it itself.",
    )
    start: Start = Field(description="What a net has learnt before.")
    steps: int = Field(ge=1, description="Optimiser steps.")
    stop: Stop = Field(description="Early stopping: fewer steps, and the net of the best look.")
    dropout: float = Field(ge=0, lt=1, description="Dropout before the last layer.")
    stochastic_depth: float = Field(
        ge=0, lt=1, description="Chance to skip the last residual block; earlier ones linearly less."
    )
    sampling: Literal["natural", "balanced"] = Field(
        description="`balanced`: labeled images of rare classes come more often, each class as often as the largest."
    )
    logit_adjustment: float = Field(
        ge=0,
        le=5,
        description="Adds this times the log share of a class to its logit while learning. 0 = off, 1 = paper.",
    )
    noise: Noise = Field(description="Input noise while this net learns.")
    fixres: FixRes = Field(description="Fine-tuning to the images as they are in use.")

    @model_validator(mode="after")
    def _starts_as_it_can(self) -> "Net":
        if self.start.weights == "imagenet" and not self.net.startswith((TORCHVISION, TIMM, AUTO)):
            raise ValueError(
                f"start.weights: imagenet is for {TORCHVISION}NAME and {TIMM}NAME, and net is {self.net}; "
                "name a file or folder in data/start, or none"
            )
        if self.start.backbone == "frozen" and self.fixres.steps:
            raise ValueError("fixres.steps: the last batch norm learns then, and start.backbone is frozen; set it to 0")
        return self


class Taught(Net):
    """A net that also learns from images without labels."""

    ratio: int = Field(ge=1, le=64, description="Pseudo-labeled images per labeled image in a step.")
    consistency: Consistency = Field(description="FixMatch or mean teacher instead of stored pseudo-labels.")

    @model_validator(mode="after")
    def _looks_at_images(self) -> "Taught":
        if self.start.backbone == "frozen" and self.consistency.method != "none":
            raise ValueError(
                f"consistency.method: {self.consistency.method} wants images under new noise at every step, and a "
                "frozen backbone sees each once; set start.backbone to train, or the method to none"
            )
        return self


class Student(Taught):
    """A net that learns from the pseudo-labels of its round."""

    grow: float = Field(
        gt=1, le=100, description="`net: auto`: at least this times its teacher's parameters, in the smallest such net."
    )


class Distilled(Taught):
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

    @model_validator(mode="after")
    def _learns_from_the_champion(self) -> "Distilled":
        if self.consistency.method != "none":
            raise ValueError(
                f"consistency.method: {self.consistency.method} makes targets of the net's own; "
                "a distilled net learns what the champion believes: set it to none"
            )
        return self
