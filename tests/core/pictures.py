"""Pictures made up for tests of corruptions and shifts."""

import numpy as np
from scipy import ndimage

N = 12


def pictures(side: int = 32, channels: int = 3, n: int = N) -> np.ndarray:
    """Smooth blobs in many colours: what photographs have, and noise has not."""
    rng = np.random.default_rng(0)
    x = ndimage.gaussian_filter(rng.normal(size=(n, channels, side, side)), (0, 0, side / 10, side / 10))
    x = (x - x.min(axis=(1, 2, 3), keepdims=True)) / np.ptp(x, axis=(1, 2, 3), keepdims=True)
    return (x * 230 + 12).astype(np.uint8)


IMAGES = pictures()
SEEDS = list(range(100, 100 + N))
