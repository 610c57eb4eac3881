"""What a net sees in an image before it decides: the input of its last linear layer. B batch, D features."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class Seen:
    """The features of the newest batch that went through the net."""

    def __init__(self) -> None:
        self._input: Tensor | None = None

    def keep(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A forward pre-hook: remember what goes into a layer; the layer that comes last has the last word."""
        self._input = inputs[0]

    @property
    def features_BD(self) -> Tensor:
        """float32 (B, D) on the CPU; of a layer that sees pixels (a 1 x 1 convolution as head) the mean over them."""
        assert self._input is not None, "nothing went through the net yet, or it has no linear layer"
        seen = self._input
        return (seen.mean(dim=(2, 3)) if seen.ndim == 4 else seen.flatten(1)).detach().float().cpu()


@contextmanager
def seen_by(net: nn.Module) -> Iterator[Seen]:
    """Watch a net, whichever it is, while it is used: every linear layer and convolution is hooked, none is changed.

    Which one comes last is known once a batch went through; in no net of ours does it depend on the image.
    """
    seen = Seen()
    layers = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(seen.keep) for layer in layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
