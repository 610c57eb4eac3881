"""Every net by name. A new one is a line here, its name in tasks/params.py and a builder with these arguments."""

from functools import partial
from typing import Protocol

from torch import nn

from tasks.nets.wrn import WideResNet


class Builder(Protocol):
    """What makes a net that takes uint8 images (B, channels, H, W) and returns logits (B, classes)."""

    def __call__(
        self, *, channels: int, classes: int, width: int, dropout: float, stochastic_depth: float
    ) -> nn.Module: ...


NETS: dict[str, Builder] = {
    "wrn10": partial(WideResNet, 10),
    "wrn10mp": partial(WideResNet, 10, pooled_stem=True),
    "wrn16": partial(WideResNet, 16),
    "wrn28": partial(WideResNet, 28),
}


def build(name: str, *, channels: int, classes: int, width: int, dropout: float, stochastic_depth: float) -> nn.Module:
    """A fresh net, its weights drawn from torch's generator, which the caller seeds. ValueError for an unknown name."""
    if name not in NETS:
        raise ValueError(f"unknown net {name!r}; known: {', '.join(sorted(NETS))}")
    return NETS[name](
        channels=channels, classes=classes, width=width, dropout=dropout, stochastic_depth=stochastic_depth
    )
