"""Random draws image by image: what an image gets follows from its own seed, not from its companions in a chunk."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def draw(seed_N: Sequence[int], of: Callable[[np.random.Generator], Any]) -> NDArray[np.floating[Any]]:
    """What `of` draws for each image, stacked: float32 (N, ...)."""
    return np.stack([of(np.random.default_rng(seed)) for seed in seed_N]).astype(np.float32)
