"""FixRes (Touvron et al., arXiv:1906.06423): a few last steps on images as they will be when the net is used.

A net that learnt on small or noisy images meets other sizes of things, and other statistics, in use. The paper mends it
cheaply: the classifier and the batch norm before it learn on, at the test resolution and without augmentation; all
other layers are frozen. Noisy Student did the same for 1.5 epochs of its labeled images.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tasks.core.augment import Noise
from tasks.core.batches import Examples
from tasks.core.train import Recipe, train
from tasks.core.tuning import ALIKE

CLEAN = Noise(num_ops=0, magnitude=0.0, crop=0, flip=False, cutout=0)


class Tail(nn.Module):
    """A net of which only the head and the last batch norm learn; the others stay as in use, dropout too."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.tail = net, tail(net)
        learnt = {id(p) for module in self.tail for p in module.parameters()}
        for p in net.parameters():
            p.requires_grad_(id(p) in learnt)

    def train(self, mode: bool = True) -> "Tail":
        """Training is for the tail alone."""
        super().train(False)
        for module in self.tail:
            module.train(mode)
        return self

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Logits (B, classes)."""
        logit_BC: torch.Tensor = self.net(image_BCHW)
        return logit_BC


def tail(net: nn.Module) -> list[nn.Module]:
    """The last linear layer (of nets without one the last convolution) and, where there is any, the last batch norm."""
    modules = list(net.modules())
    linears: list[nn.Module] = [m for m in modules if isinstance(m, nn.Linear)]
    convolutions: list[nn.Module] = [m for m in modules if isinstance(m, nn.Conv2d)]
    norms = [m for m in modules if isinstance(m, _BatchNorm)]
    return [(linears or convolutions)[-1], *norms[-1:]]


def fine_tune(
    net: nn.Module, labeled: Examples, recipe: Recipe, steps: int, lr: float, seed: int, **losses: Any
) -> nn.Module:
    """`steps` more of the labeled images, clean and at full size, for the tail; returns the net in eval mode.

    The training loop is the usual one (`train`), with the recipe's batch and momentum, a rate that falls from `lr`
    along a cosine, and no average over time.
    """
    short = replace(
        recipe, steps=steps, ratio=0, lr=lr, warmup=0, ema=0.0, weight_decay=0.0, compile=False, tuning=ALIKE
    )
    tuned = train(Tail(net), labeled, None, short, CLEAN, seed, **losses)
    assert isinstance(tuned, Tail)
    return tuned.net.requires_grad_(True)
