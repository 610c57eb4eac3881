"""What share of the accepted labels is right, from a random sample of them that people named blind.

Letters: N accepted labels, H strata (classes), M draws. One draw falls into each of M zones of equal width over the
labels in the order of class and confidence, so that the sample is stratified by both and every label of a class is as
likely to be drawn as any other of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, betaincinv

from tasks.core.compare import exact_low
from tasks.core.metrics import wilson

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
LEAST = 2  # draws of a class, however rare it is
PER_CLASS = 5  # draws a class on average, below which an audit speaks of no class


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its intervals, all at 95 %. `low` and `high` are exact (two-sided), `at_least` is one-sided."""

    share: float | None  # of what was decided; None where nothing was
    low: float
    high: float
    at_least: float
    display: tuple[float, float]  # Wilson's interval of the decided ones: narrower, and at times too narrow


def strata(label_N: Ints, n: int) -> Ints:
    """The stratum of each label, from 0: its class. All are one stratum where n has less than PER_CLASS for a class:
    a least number of draws from each would be most of them, and cost the overall precision more than it tells.
    """
    names, stratum_N = np.unique(label_N, return_inverse=True)
    return stratum_N if n >= PER_CLASS * len(names) else np.zeros(len(label_N), np.int64)


def allocate(size_H: Ints, n: int) -> Ints:
    """How many of n draws fall into each stratum: in proportion to its size (largest remainders), but a quarter of an
    even share and at least LEAST for the rare ones; never more than it has. Adds up to the lesser of n and all labels.
    """
    size_H = np.asarray(size_H, np.int64)
    n = min(n, int(size_H.sum()))
    floor_H = np.minimum(size_H, max(LEAST, n // (4 * len(size_H))))
    rare_H = np.zeros(len(size_H), bool)
    if floor_H.sum() > n:
        floor_H = np.zeros(len(size_H), np.int64)  # one stratum alone may be that small
    while True:
        left, share_H = n - floor_H[rare_H].sum(), np.where(rare_H, 0.0, size_H)
        quota_H = np.where(rare_H, floor_H, share_H * left / max(share_H.sum(), 1.0))
        if not (below_H := ~rare_H & (quota_H < floor_H)).any():
            break
        rare_H |= below_H
    draw_H: Ints = np.minimum(quota_H.astype(np.int64), size_H)
    for h in np.argsort(draw_H - quota_H, kind="stable")[: n - draw_H.sum()]:
        draw_H[h] += 1
    return draw_H


def draw(label_N: Ints, confidence_N: Floats, n: int, rng: np.random.Generator) -> Ints:
    """The places in 0..N-1 of n draws, ordered by stratum, class and confidence.

    A label that two neighbouring zones share may be drawn by both; it then stands twice and counts twice. So draws are
    independent, and their mean share of wrong labels is that of the stratum: what the intervals rest on.
    """
    stratum_N = strata(label_N, n)
    order_N = np.lexsort((confidence_N, label_N, stratum_N))
    size_H = np.bincount(stratum_N)
    first_H = np.concatenate([[0], np.cumsum(size_H)[:-1]])
    draws_H = allocate(size_H, n)
    return np.concatenate([order_N[f + zones(s, m, rng)] for f, s, m in zip(first_H, size_H, draws_H, strict=True)])


def zones(size: int, m: int, rng: np.random.Generator) -> Ints:
    """A place in 0..size-1 from each of m zones of width size / m, evenly drawn; a zone may begin inside a place."""
    if not m:
        return np.zeros(0, np.int64)
    place_M: Ints = ((np.arange(m) + rng.random(m)) * (size / m)).astype(np.int64)
    return np.minimum(place_M, size - 1)


def clopper_pearson(successes: float, n: float, tail: float = 0.025) -> tuple[float, float]:
    """Exact interval of a share (Clopper and Pearson 1934): each end is missed with probability `tail` at most.

    Between whole numbers the beta distribution interpolates.
    """
    low = float(betaincinv(successes, n - successes + 1, tail)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return low, high


def of_class(right: int, wrong: int, unknown: int) -> Share:
    """The share of right labels in one class. What nobody decided counts as wrong for the lower ends and as right for
    the upper one: no answer never helps a label.

    Exact although the draws are from zones: the number of right ones is a sum of independent draws, and among those of
    equal mean the binomial distribution has the heaviest tails (Hoeffding 1956).
    """
    n = right + wrong + unknown
    low, high = clopper_pearson(right, n)[0], clopper_pearson(right + unknown, n)[1]
    share = right / (right + wrong) if right + wrong else None
    return Share(share, low, high, exact_low(right, n) if n else 0.0, wilson(right, right + wrong))


def overall(size_H: Ints, right_H: Ints, wrong_H: Ints, unknown_H: Ints) -> Share:
    """The share of right labels among all accepted ones, the strata weighted by their size.

    A draw of stratum h stands for size_h / draws_h labels. Measured in the largest such number, b_h <= 1, the weighted
    count of wrong ones k is a sum of M independent values in [0, 1], whose tails are no heavier than those of a
    binomial of M trials of the same mean (Hoeffding 1956 and 1963); so Clopper and Pearson's interval of k in M bounds
    it, scaled back by M / sum of b. With equal weights it is their interval itself. benchmarks/audit.py measures its
    coverage. Strata without draws make the interval wider by all they hold.
    """
    size_H, draws_H = np.asarray(size_H, np.float64), right_H + wrong_H + unknown_H
    seen_H = draws_H > 0
    if not seen_H.any():
        return Share(None, 0.0, 1.0, 0.0, (0.0, 1.0))
    size, draws = size_H[seen_H], draws_H[seen_H]
    wrong, unknown = wrong_H[seen_H], unknown_H[seen_H]
    covered = size.sum() / size_H.sum()
    b = (size / draws) / (size / draws).max()
    trials, scale = float(draws.sum()), float(draws.sum() / (b * draws).sum())
    k, k_most = float(b @ wrong), float(b @ (wrong + unknown))
    low = min(scale * clopper_pearson(k, trials)[0], 1.0)
    high = min(scale * clopper_pearson(k_most, trials)[1], 1.0)
    worst = min(scale * clopper_pearson(k_most, trials, 0.05)[1], 1.0)
    share, display = _weighted(size, right_H[seen_H], wrong)
    return Share(share, covered * (1 - high), 1 - covered * low, covered * (1 - worst), display)


def _weighted(size_H: NDArray[Any], right_H: Ints, wrong_H: Ints) -> tuple[float | None, tuple[float, float]]:
    """The weighted share of right ones among those decided, and Wilson's interval at Kish's effective sample size."""
    decided_H = right_H + wrong_H
    known_H = decided_H > 0
    if not known_H.any():
        return None, (0.0, 1.0)
    weight = size_H[known_H] / size_H[known_H].sum()
    right, decided = right_H[known_H], decided_H[known_H]
    share = float(weight @ (right / decided))
    effective = float(1 / (weight**2 / decided).sum())
    return share, wilson(share * effective, effective)


def p_at_least(right: int, n: int, level: float) -> float:
    """How likely `right` or more of n would be right if the class stood at `level` exactly: small = it is above."""
    return float(bdtrc(right - 1, n, level)) if right > 0 else 1.0


def needed(level: float, classes: int, risk: float = 0.05) -> int:
    """Images of a class, all of them right, that show it to be at `level` or above beside `classes` - 1 others."""
    return int(np.ceil(np.log(risk / classes) / np.log(level)))
