"""A nine-layer residual net for small images (David Page, DAWNBench 2018): fast to train, strong at 32x32 pixels.

Letters: B batch, C channels or classes, H height, W width.
"""

from torch import Tensor, nn

from tasks.nets.depth import skip_some
from tasks.nets.pixels import Pixels


class ResNet9(nn.Module):
    """uint8 images (B, C, H, W), 8x8 pixels or more, to logits (B, classes). `width` 4 is the published size."""

    def __init__(self, *, channels: int, classes: int, width: int, dropout: float, stochastic_depth: float) -> None:
        """16, 32, 64 and 128 maps times `width`; `stochastic_depth`: chance to skip the second residual, half of it the
        first."""
        super().__init__()
        w = 16 * width
        self.pixels = Pixels()
        self.stem = _conv(channels, w)
        self.stage1 = nn.Sequential(_conv(w, 2 * w), nn.MaxPool2d(2))
        self.residual1 = Residual(2 * w, stochastic_depth / 2)
        self.stage2 = nn.Sequential(_conv(2 * w, 4 * w), nn.MaxPool2d(2))
        self.stage3 = nn.Sequential(_conv(4 * w, 8 * w), nn.MaxPool2d(2))
        self.residual3 = Residual(8 * w, stochastic_depth)
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(8 * w, classes)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logits (B, classes)."""
        first = self.stem[0].weight
        x = self.residual1(self.stage1(self.stem(self.pixels(image_BCHW, first))))
        x = self.residual3(self.stage3(self.stage2(x)))
        logit_BC: Tensor = self.head(self.dropout(x.amax(dim=(2, 3))))
        return logit_BC


class Residual(nn.Module):
    """Two convolutions beside a shortcut, skipped for each image with chance `skip` in training."""

    def __init__(self, maps: int, skip: float) -> None:
        super().__init__()
        self.convs, self.skip = nn.Sequential(_conv(maps, maps), _conv(maps, maps)), skip

    def forward(self, x: Tensor) -> Tensor:
        """Shortcut plus branch; the branch is scaled so that its mean is the same in training and in use."""
        out: Tensor = x + skip_some(self.convs(x), self.skip, self.training)
        return out


def _conv(w_in: int, w_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(w_in, w_out, 3, padding=1, bias=False), nn.BatchNorm2d(w_out), nn.ReLU())
