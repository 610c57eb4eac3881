"""The confidence each class asks for, as float32 (C,). One function a policy; C classes.

The originals move their thresholds from batch to batch while a net learns. Here the teacher is finished and all it said
is stored, so each is computed once, over the whole pool: no moving average and no warm-up is left.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Adaptive = Literal["none", "flexmatch", "freematch"]


def fixed(threshold: float | NDArray[np.float32], classes: int) -> NDArray[np.float32]:
    """One threshold for all classes (Noisy Student, section 3.1; FixMatch, Sohn et al. 2020, eq. 4), or one each."""
    return np.full(classes, threshold, dtype=np.float32)


def flexmatch(threshold: float, confident_C: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Curriculum pseudo-labeling (FlexMatch, Zhang et al. 2021, arXiv:2110.08263, sections 3.1 to 3.3).

    `confident_C`: images the teacher puts in each class with at least `threshold` (the learning effect); beta is that
    over the largest of them; the threshold is M(beta)·threshold with the convex map M(x) = x / (2 - x). The best learnt
    class keeps the threshold, harder ones ask for less; one without a single confident image takes whatever it gets.
    Left out is the warm-up term, which guards the first steps of an untrained net.
    """
    beta_C = confident_C / max(int(confident_C.max(initial=0)), 1)
    return (threshold * beta_C / (2 - beta_C)).astype(np.float32)


def freematch(confidence: float, mean_C: NDArray[np.float64]) -> NDArray[np.float32]:
    """Self-adaptive thresholds (FreeMatch, Wang et al. 2023, arXiv:2205.07246, section 4.1).

    Global: the mean confidence over the pool. Local: the mean probability of each class, `mean_C`, over the largest of
    them. Threshold of class c: mean_C / max(mean_C) · confidence. No setting is needed. The original follows both with
    an exponential moving average over batches.
    """
    largest = float(mean_C.max(initial=0.0))
    return (mean_C / largest * confidence if largest > 0 else np.zeros_like(mean_C)).astype(np.float32)
