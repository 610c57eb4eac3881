"""How good a net is, from its probabilities and the truth. Letters: N images, C classes."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]


def accuracy(prob_NC: Floats, truth_N: Ints) -> float:
    """Share of images whose most probable class is the true one; nan without images."""
    return float((prob_NC.argmax(axis=1) == truth_N).mean()) if len(truth_N) else math.nan


def wilson(successes: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share, 95 % by default (Wilson 1927); (0, 1) without trials."""
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max((middle - half) / (1 + z * z / n), 0.0), min((middle + half) / (1 + z * z / n), 1.0)


def confusion(prob_NC: Floats, truth_N: Ints) -> NDArray[np.int64]:
    """Counts (C, C): row = true class, column = predicted class."""
    C = prob_NC.shape[1]
    return np.bincount(truth_N * C + prob_NC.argmax(axis=1), minlength=C * C).reshape(C, C)


def precision_recall(confusion_CC: Ints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Per class; nan where a class was never predicted (precision) or never true (recall)."""
    hit_C = np.diag(confusion_CC).astype(np.float64)
    predicted_C, true_C = confusion_CC.sum(axis=0), confusion_CC.sum(axis=1)
    nan_C = np.full(len(hit_C), np.nan)
    precision_C = np.divide(hit_C, predicted_C, out=nan_C.copy(), where=predicted_C > 0)
    return precision_C, np.divide(hit_C, true_C, out=nan_C, where=true_C > 0)


def reliability(prob_NC: Floats, truth_N: Ints, bins: int = 15) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and size of each bin, least confident first; empty without images.

    Bins hold equally many images (Nixon et al., arXiv:1904.01685); ties in confidence are cut by row order.
    """
    if not len(truth_N):
        return []
    confidence_N = prob_NC.max(axis=1).astype(np.float64)
    hit_N = (prob_NC.argmax(axis=1) == truth_N).astype(np.float64)
    order_N = np.argsort(confidence_N, kind="stable")
    parts = np.array_split(order_N, min(bins, len(order_N)))
    return [(float(confidence_N[p].mean()), float(hit_N[p].mean()), len(p)) for p in parts]


def expected_calibration_error(prob_NC: Floats, truth_N: Ints, bins: int = 15) -> float:
    """Mean over the bins of `reliability` of |mean confidence - accuracy|, weighted by size; nan without images."""
    return calibration_error(prob_NC.max(axis=1), prob_NC.argmax(axis=1) == truth_N, bins) if len(truth_N) else math.nan


def calibration_error(confidence_N: Floats, hit_N: NDArray[np.bool_], bins: int = 15) -> float:
    """The same from N > 0 confidences and whether each prediction is right."""
    gap_N = (confidence_N.astype(np.float64) - hit_N)[np.argsort(confidence_N, kind="stable")]
    return float(sum(abs(part.sum()) for part in np.array_split(gap_N, min(bins, len(gap_N))))) / len(gap_N)


def negative_log_likelihood(prob_NC: Floats, truth_N: Ints) -> float:
    """Mean of -log p(true class) in nats, probabilities floored at the smallest normal float32; nan without images."""
    if not len(truth_N):
        return math.nan
    true_N = prob_NC[np.arange(len(truth_N)), truth_N].astype(np.float64)
    return float(-np.log(np.maximum(true_N, np.finfo(np.float32).tiny)).mean())


def entropy(prob_NC: Floats) -> NDArray[np.float32]:
    """Entropy of each row in nats; 0 log 0 = 0."""
    p_NC = prob_NC.astype(np.float64)
    entropy_N: NDArray[np.float32] = -(p_NC * np.log(np.where(p_NC > 0, p_NC, 1.0))).sum(axis=1).astype(np.float32)
    return entropy_N
