"""How right labels are against how many of them one takes, the most confident first. N labels."""

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import Floats, wilson

Point = tuple[float, float, float, float, float, int]  # coverage, confidence, precision, low, high, n


def precision_coverage(confidence_N: Floats, right_N: NDArray[np.bool_], points: int = 100) -> list[Point]:
    """The precision-coverage curve (El-Yaniv & Wiener, 2010) with Wilson's 95 % intervals, at most `points` of it.

    A point takes every label of at least its confidence: equal confidences go in together, as under any threshold. The
    last point takes all labels. Empty without labels.
    """
    N = len(confidence_N)
    order_N = np.argsort(-confidence_N, kind="stable")
    sorted_N, hits_N = confidence_N[order_N], np.cumsum(right_N[order_N])
    ends = np.flatnonzero(np.append(sorted_N[1:] != sorted_N[:-1], True)) if N else np.empty(0, np.int64)
    wanted = np.linspace(N / points, N, points) - 1
    chosen = ends[np.unique(np.searchsorted(ends, wanted).clip(max=max(len(ends) - 1, 0)))] if N else ends
    found: list[Point] = []
    for end in chosen:
        n, hits = int(end) + 1, int(hits_N[end])
        found.append((n / N, float(sorted_N[end]), hits / n, *wilson(hits, n), n))
    return found
