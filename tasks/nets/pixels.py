"""What all nets do with pixels first: scale them, and bring them to the size a classic net was made for."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Pixels(nn.Module):
    """uint8 images (B, C, H, W) to float, (x / 255 - mean) / std, and to `native` x `native` pixels where that is set.

    `mean` and `std` are .5 and .25, or those of the weights a net started from, one a channel (`scale`). A grey image
    under three of each becomes three channels, each scaled in its own way: it looks as it would have looked in color.
    """

    def __init__(self, native: int | None = None) -> None:
        super().__init__()
        self.native = native
        self.mean, self.std = [0.5], [0.25]

    def forward(self, image_BCHW: Tensor, like: Tensor) -> Tensor:
        """Images in the number format of the weights `like`."""
        x = (image_BCHW.to(like.dtype) / 255 - _each(self.mean, like)) / _each(self.std, like)
        if self.native is not None and x.shape[-2:] != (self.native, self.native):
            x = F.interpolate(x, (self.native, self.native), mode="bilinear", antialias=True, align_corners=False)
        return x


def scale(net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
    """Let a net scale its pixels in this way, a number a channel."""
    for module in net.modules():
        if isinstance(module, Pixels):
            module.mean, module.std = list(mean), list(std)


def _each(values: list[float], like: Tensor) -> Tensor | float:
    """One number for all channels, or a tensor (1, C, 1, 1)."""
    if len(values) == 1:
        return values[0]
    return torch.tensor(values, dtype=like.dtype, device=like.device)[None, :, None, None]
