"""mCE and mFR: how much a net suffers from corruptions and small shifts, relative to another one.

Hendrycks & Dietterich, arXiv:1903.12261, section 4; the reference there is AlexNet, here the teacher. Letters: N
images, K corruptions or shifts, F frames.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Z = 1.959964  # 95 %, two-sided


def flips(said_FN: NDArray[np.integer[Any]], with_first: bool) -> NDArray[np.float64]:
    """The share of frames (N,) whose class is not that of the frame before, or of the first one; 0 with one frame."""
    if len(said_FN) < 2:
        return np.zeros(said_FN.shape[1])
    before = said_FN[:1] if with_first else said_FN[:-1]
    changed: NDArray[np.float64] = (said_FN[1:] != before).mean(axis=0)
    return changed


def relative_mean(of_NK: Floats, reference_NK: Floats) -> dict[str, Any]:
    """100 times the mean over K of sum(net) / sum(reference), with its 95 % interval; 100 = like the reference.

    The columns are errors (summed over the severities) or flips of each image, of both nets on the same images. The
    interval is that of a paired ratio estimator (Cochran, Sampling Techniques, 1977, section 6.4) on the scale of
    logarithms; null where the net never errs. Where the reference never errs a ratio is undefined: such a column is
    left out and counted, and with none left the value is null.
    """
    of, reference = of_NK.astype(np.float64), reference_NK.astype(np.float64)
    is_usable_K = reference.sum(axis=0) > 0
    ratio_K = np.divide(of.sum(axis=0), reference.sum(axis=0), out=np.full(of.shape[1], np.nan), where=is_usable_K)
    found: dict[str, Any] = {"value": None, "low": None, "high": None}
    if is_usable_K.any():
        value = float(ratio_K[is_usable_K].mean())
        found["value"] = 100 * value
        if value > 0 and len(of) > 1:
            residual_NK = (of - ratio_K * reference)[:, is_usable_K] / reference[:, is_usable_K].mean(axis=0)
            error = residual_NK.mean(axis=1).std(ddof=1) / np.sqrt(len(of))
            spread = np.exp(Z * error / value)
            found |= {"low": float(100 * value / spread), "high": float(100 * value * spread)}
    each = [float(r) if ok else None for r, ok in zip(ratio_K, is_usable_K, strict=True)]
    return found | {"each": each, "left_out": int((~is_usable_K).sum())}
