"""LeNet-5 (LeCun, Bottou, Bengio & Haffner, 1998, section II.B), for 32x32 pixels; other sizes are scaled to that.

As published: trainable subsampling, tanh, and the sparse connections of C3 (table I). One difference: the output layer
is linear instead of Euclidean radial basis functions, so that it gives logits. Letters: B batch, C channels or classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.nets.pixels import Pixels

NATIVE = 32
# Table I of the paper: the maps of S2 that each map of C3 reads.
C3_READS = (
    *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),
    *((i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6) for i in range(6)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)


class LeNet5(nn.Module):
    """uint8 images (B, C, H, W) to logits (B, classes). 60,000 weights before the output layer, as in the paper."""

    def __init__(self, *, channels: int, classes: int, width: int, dropout: float, stochastic_depth: float) -> None:
        """`width` multiplies the maps of every layer. There is no residual block: `stochastic_depth` must be 0."""
        super().__init__()
        if stochastic_depth:
            raise ValueError("lenet5 has no residual block to skip: set stochastic_depth to 0")
        self.pixels = Pixels(NATIVE)
        self.c1, self.s2 = nn.Conv2d(channels, 6 * width, 5), Subsample(6 * width)
        self.c3, self.s4 = SparseConv(width), Subsample(16 * width)
        self.c5, self.f6 = nn.Conv2d(16 * width, 120 * width, 5), nn.Linear(120 * width, 84 * width)
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(84 * width, classes)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logits (B, classes)."""
        x = _squash(self.s2(_squash(self.c1(self.pixels(image_BCHW, self.c1.weight)))))
        x = _squash(self.s4(_squash(self.c3(x))))
        x_BC = _squash(self.f6(_squash(self.c5(x)).flatten(1)))
        logit_BC: Tensor = self.head(self.dropout(x_BC))
        return logit_BC


class Subsample(nn.Module):
    """The mean of 2x2 pixels, times a trained factor, plus a trained bias, both per map."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.factor, self.bias = nn.Parameter(torch.ones(maps)), nn.Parameter(torch.zeros(maps))

    def forward(self, x: Tensor) -> Tensor:
        """Half the height and width."""
        return F.avg_pool2d(x, 2) * self.factor[:, None, None] + self.bias[:, None, None]


class SparseConv(nn.Module):
    """C3: 5x5 convolutions, each over the few maps of table I; wider nets repeat the table."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.maps = [[m + 6 * w for w in range(width) for m in C3_READS[out % 16]] for out in range(16 * width)]
        self.convs = nn.ModuleList(nn.Conv2d(len(maps), 1, 5) for maps in self.maps)

    def forward(self, x: Tensor) -> Tensor:
        """16 maps times the width: one dense convolution whose missing connections are 0."""
        weight = x.new_zeros(len(self.maps), x.shape[1], 5, 5)
        for out, (maps, conv) in enumerate(zip(self.maps, self.convs, strict=True)):
            weight[out, maps] = conv.weight[0]  # type: ignore[index]  # a convolution's weight is a tensor
        bias = torch.cat([conv.bias for conv in self.convs])  # type: ignore[misc]
        return F.conv2d(x, weight, bias)


def _squash(x: Tensor) -> Tensor:
    """The paper's f(a) = 1.7159 tanh(2a/3), appendix A."""
    return 1.7159 * torch.tanh(2 / 3 * x)
