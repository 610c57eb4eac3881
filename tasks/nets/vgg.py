"""VGG (Simonyan & Zisserman, arXiv:1409.1556): 3x3 convolutions, 2x2 max pooling, no response normalisation.

`VGG` is the published net (table 1, columns A and D), for 224x224 pixels; other sizes are scaled to that. `SmallVGG`
has the same convolutions, with batch norm (without it nets this deep hardly train from scratch on small data) and one
hidden layer of 512, for images of about 32x32 pixels. Letters: B batch, C channels or classes, H height, W width.
"""

from torch import Tensor, nn

from tasks.nets.pixels import Pixels

NATIVE = 224
STAGES = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3)}  # convolutions before each pooling
WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """uint8 images (B, C, H, W) to logits (B, classes); 132,863,336 (11) or 138,357,544 (16) weights for ImageNet."""

    def __init__(
        self, depth: int, *, channels: int, classes: int, width: int, dropout: float, stochastic_depth: float
    ) -> None:
        """`width` multiplies filters and units. There is no residual block: `stochastic_depth` must be 0."""
        super().__init__()
        _refuse_depth(stochastic_depth)
        self.pixels = Pixels(NATIVE)
        self.features = nn.Sequential(*_features(depth, channels, width, norm=False))
        self.head = nn.Sequential(
            *(nn.Linear(512 * width * 7 * 7, 4096 * width), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(4096 * width, 4096 * width), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(4096 * width, classes),
        )

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logits (B, classes)."""
        first = self.features[0].weight
        logit_BC: Tensor = self.head(self.features(self.pixels(image_BCHW, first)).flatten(1))
        return logit_BC


class SmallVGG(nn.Module):
    """The same convolutions for small images, from 8x8 pixels up: a map of one pixel is not pooled further."""

    def __init__(
        self, depth: int, *, channels: int, classes: int, width: int, dropout: float, stochastic_depth: float
    ) -> None:
        """`width` multiplies filters and units. There is no residual block: `stochastic_depth` must be 0."""
        super().__init__()
        _refuse_depth(stochastic_depth)
        self.pixels = Pixels()
        self.features = nn.Sequential(*_features(depth, channels, width, norm=True), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Sequential(
            *(nn.Dropout(dropout), nn.Linear(512 * width, 512 * width), nn.ReLU()),
            *(nn.Dropout(dropout), nn.Linear(512 * width, classes)),
        )

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logits (B, classes)."""
        first = self.features[0].weight
        logit_BC: Tensor = self.head(self.features(self.pixels(image_BCHW, first)).flatten(1))
        return logit_BC


def _features(depth: int, channels: int, width: int, *, norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    w_in = channels
    for count, w_out in zip(STAGES[depth], (w * width for w in WIDTHS), strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(w_in, w_out, 3, padding=1), *([nn.BatchNorm2d(w_out)] if norm else []), nn.ReLU()]
            w_in = w_out
        layers += [nn.MaxPool2d(2, ceil_mode=norm)]
    return layers


def _refuse_depth(stochastic_depth: float) -> None:
    if stochastic_depth:
        raise ValueError("VGG has no residual block to skip: set stochastic_depth to 0")
