"""One small training run that the tests of the engine share: 8x8 images, bright above (class 0) or below (class 1)."""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import one_hot

from tasks.core.augment import Noise
from tasks.core.train import Examples, Recipe, Validation
from tasks.nets.catalog import build

NOISE = Noise(num_ops=2, magnitude=5.0, crop=1, flip=True, cutout=2)
RECIPE = Recipe(
    steps=9, batch=6, ratio=2, lr=0.1, momentum=0.9, weight_decay=5e-4, warmup=2, ema=0.9, label_smoothing=0.1, clip=1.0
)
PARTS = replace(RECIPE, accumulate=2)  # a step in two parts


def net(name: str = "wrn10", noise: float = 0.2) -> nn.Module:
    """A net whose weights are always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        depth = 0.0 if name == "lenet5" else noise
        return build(name, channels=1, classes=2, width=1, dropout=noise, stochastic_depth=depth)


def examples(n: int) -> Examples:
    """Images whose upper (class 0) or lower (class 1) half is bright."""
    gen = torch.Generator().manual_seed(n)
    label_N = torch.arange(n) % 2
    image_NCHW = torch.randint(0, 90, (n, 1, 8, 8), generator=gen)
    rows_8 = torch.arange(8) // 4
    image_NCHW += 150 * (rows_8 == label_N[:, None])[:, None, :, None]
    return Examples(image_NCHW.to(torch.uint8), one_hot(label_N, 2).float(), torch.ones(n, dtype=torch.int64))


EXAMPLES, PSEUDO = examples(5), examples(9)
VALIDATION = Validation(examples(7).image_NCHW, examples(7).target_NC, every=2, patience=3)
