"""AlexNet (Krizhevsky, Sutskever & Hinton, 2012): local response normalisation, overlapping pooling, dropout.

`AlexNet` is the published net with its two groups of filters, for 227x227 pixels (the paper says 224, its arithmetic
needs 227); other sizes are scaled to that. `SmallAlexNet` has the same layers for images of about 32x32 pixels: stride
1, 5x5 and 3x3 filters, 1,024 units instead of 4,096. Letters: B batch, C channels or classes, H height, W width.
"""

from torch import Tensor, nn

from tasks.nets.pixels import Pixels

NATIVE = 227


class AlexNet(nn.Module):
    """uint8 images (B, C, H, W) to logits (B, classes); 60,965,224 weights for 3 channels and 1,000 classes."""

    def __init__(self, *, channels: int, classes: int, width: int, dropout: float, stochastic_depth: float) -> None:
        """`width` multiplies filters and units. There is no residual block: `stochastic_depth` must be 0."""
        super().__init__()
        _refuse_depth(stochastic_depth)
        w = width
        self.pixels = Pixels(NATIVE)
        self.features = nn.Sequential(
            *(nn.Conv2d(channels, 96 * w, 11, 4), nn.ReLU(), _normalise(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(96 * w, 256 * w, 5, padding=2, groups=2), nn.ReLU(), _normalise(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(256 * w, 384 * w, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384 * w, 384 * w, 3, padding=1, groups=2), nn.ReLU()),
            *(nn.Conv2d(384 * w, 256 * w, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        )
        self.head = _head(256 * w * 6 * 6, 4096 * w, classes, dropout)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logits (B, classes)."""
        first = self.features[0].weight
        logit_BC: Tensor = self.head(self.features(self.pixels(image_BCHW, first)).flatten(1))
        return logit_BC


class SmallAlexNet(nn.Module):
    """The same layers for small images, from 8x8 pixels up."""

    def __init__(self, *, channels: int, classes: int, width: int, dropout: float, stochastic_depth: float) -> None:
        """`width` multiplies filters and units. There is no residual block: `stochastic_depth` must be 0."""
        super().__init__()
        _refuse_depth(stochastic_depth)
        w = width
        self.pixels = Pixels()
        self.features = nn.Sequential(
            *(nn.Conv2d(channels, 32 * w, 5, padding=2), nn.ReLU(), _normalise(), nn.MaxPool2d(3, 2, padding=1)),
            *(
                nn.Conv2d(32 * w, 96 * w, 5, padding=2, groups=2),
                nn.ReLU(),
                _normalise(),
                nn.MaxPool2d(3, 2, padding=1),
            ),
            *(nn.Conv2d(96 * w, 128 * w, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(128 * w, 128 * w, 3, padding=1, groups=2), nn.ReLU()),
            *(nn.Conv2d(128 * w, 96 * w, 3, padding=1, groups=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2)),
        )
        self.head = _head(96 * w * 2 * 2, 1024 * w, classes, dropout)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logits (B, classes)."""
        first = self.features[0].weight
        logit_BC: Tensor = self.head(self.features(self.pixels(image_BCHW, first)).flatten(1))
        return logit_BC


def _normalise() -> nn.Module:
    """Section 3.3: n = 5, alpha = 1e-4, beta = 0.75, k = 2. torch divides alpha by n, the paper does not."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


def _head(features: int, units: int, classes: int, dropout: float) -> nn.Sequential:
    """Two hidden layers with dropout before each, as published (there 0.5), then the logits."""
    return nn.Sequential(
        *(nn.Dropout(dropout), nn.Linear(features, units), nn.ReLU()),
        *(nn.Dropout(dropout), nn.Linear(units, units), nn.ReLU()),
        nn.Linear(units, classes),
    )


def _refuse_depth(stochastic_depth: float) -> None:
    if stochastic_depth:
        raise ValueError("AlexNet has no residual block to skip: set stochastic_depth to 0")
