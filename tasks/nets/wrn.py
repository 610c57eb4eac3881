"""Wide residual nets with stochastic depth, for images from 8x8 pixels up.

Zagoruyko & Komodakis, arXiv:1605.07146 (pre-activation blocks, depth 6n + 4, widening k); Huang et al.,
arXiv:1603.09382 (stochastic depth). Letters: B batch, C channels or classes, H height, W width.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from tasks.nets.depth import skip_some
from tasks.nets.pixels import Pixels


class WideResNet(nn.Module):
    """uint8 images (B, C, H, W) to logits (B, classes). Scaling pixels belongs to the net: (x / 255 - .5) / .25."""

    def __init__(
        self,
        depth: int,
        channels: int,
        classes: int,
        width: int,
        dropout: float,
        stochastic_depth: float,
        pooled_stem: bool = False,
    ) -> None:
        """`width` widens all blocks; `stochastic_depth`: chance to skip the last, linearly less for earlier ones.

        `pooled_stem` halves the image before the first block: a quarter of the work, for nets that must learn on a CPU.
        """
        super().__init__()
        per_stage = (depth - 4) // 6
        widths = [w for stage in (16, 32, 64) for w in [stage * width] * per_stage]
        self.pixels = Pixels()
        self.stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2) if pooled_stem else nn.Identity()
        self.blocks = nn.Sequential(
            *(
                Block(
                    w_in, w_out, 2 if i in (per_stage, 2 * per_stage) else 1, stochastic_depth * (i + 1) / len(widths)
                )
                for i, (w_in, w_out) in enumerate(zip([16, *widths], widths, strict=False))
            )
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logits (B, classes)."""
        x = self.blocks(self.pool(self.stem(self.pixels(image_BCHW, self.stem.weight))))
        x_BC = F.relu(self.norm(x)).mean(dim=(2, 3))
        logit_BC: Tensor = self.head(self.dropout(x_BC))
        return logit_BC


class Block(nn.Module):
    """Pre-activation residual block of two 3x3 convolutions, skipped for each image with chance `skip` in training."""

    def __init__(self, w_in: int, w_out: int, stride: int, skip: float) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(w_in), nn.Conv2d(w_in, w_out, 3, stride, padding=1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(w_out), nn.Conv2d(w_out, w_out, 3, padding=1, bias=False)
        same = w_in == w_out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(w_in, w_out, 1, stride, bias=False)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """Shortcut plus branch; the branch is scaled so that its mean is the same in training and in use."""
        active = F.relu(self.norm1(x))
        branch = self.conv2(F.relu(self.norm2(self.conv1(active))))
        shortcut = x if isinstance(self.shortcut, nn.Identity) else self.shortcut(active)
        out: Tensor = shortcut + skip_some(branch, self.skip, self.training)
        return out
