"""What all nets do with pixels first: scale them, and bring them to the size a classic net was made for."""

import torch.nn.functional as F
from torch import Tensor, nn


class Pixels(nn.Module):
    """uint8 images (B, C, H, W) to float, (x / 255 - .5) / .25, and to `native` x `native` pixels where that is set."""

    def __init__(self, native: int | None = None) -> None:
        super().__init__()
        self.native = native

    def forward(self, image_BCHW: Tensor, like: Tensor) -> Tensor:
        """Images in the number format of the weights `like`."""
        x = (image_BCHW.to(like.dtype) / 255 - 0.5) / 0.25
        if self.native is not None and x.shape[-2:] != (self.native, self.native):
            x = F.interpolate(x, (self.native, self.native), mode="bilinear", antialias=True, align_corners=False)
        return x
