"""Is one net better than another, judged on the same images. Letters: N images.

Both nets saw the same images, so only those on which exactly one of them is right say anything. A comparison of two
separate intervals would throw that away and call real gains noise.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betaincinv, ndtri

from tasks.core.metrics import wilson

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A new net against an old one. Differences are shares (0.01 = one point of accuracy)."""

    n: int
    gained: int  # images only the new net gets right
    lost: int  # images only the old net gets right
    difference: float
    low: float
    high: float
    p_value: float

    @property
    def verdict(self) -> str:
        """better, worse or within noise: whether the 95 % interval leaves zero out."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "within noise"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `points`, `low` and `high` in points of accuracy."""
        return {
            "points": round(100 * self.difference, 4),
            "low": round(100 * self.low, 4),
            "high": round(100 * self.high, 4),
            "verdict": self.verdict,
            "p_value": float(f"{self.p_value:.4g}"),
            "gained": self.gained,
            "lost": self.lost,
        }


def compare(new_hit_N: Bools, old_hit_N: Bools) -> Comparison:
    """Compare two nets by which of the same N > 0 images each gets right."""
    n = len(new_hit_N)
    gained, lost = int((new_hit_N & ~old_hit_N).sum()), int((~new_hit_N & old_hit_N).sum())
    low, high = paired_interval(int((new_hit_N & old_hit_N).sum()), gained, lost, n)
    return Comparison(n, gained, lost, (gained - lost) / n, low, high, mcnemar(gained, lost))


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact McNemar test (McNemar 1947): how likely so lopsided a split is if both nets are equally good."""
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def mcnemar_fall(gained: int, lost: int) -> float:
    """One-sided exact McNemar test: how likely at least `lost` of gained + lost images are lost by a net that is no
    worse. 1 where nothing differs."""
    return float(bdtr(gained, gained + lost, 0.5)) if gained + lost else 1.0


def holm(p_values: list[float]) -> list[float]:
    """Adjusted p-values, in the order given: all below a risk may be rejected at it together (Holm 1979)."""
    adjusted, most = [0.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        most = max(most, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = most
    return adjusted


def paired_interval(both: int, gained: int, lost: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of the difference of two accuracies on the same n images; each end alone is missed by (1 - level) / 2.

    The hull of Newcombe's score interval (1998, method 10) and the exact interval given the number of images on which
    the nets differ. The second leaves zero out exactly when the exact McNemar test has p < 1 - level, so that interval
    and test never contradict each other; the first does not collapse when all differences point one way.
    """
    tail = (1 - level) / 2
    score, exact = _newcombe(both, gained, lost, n, tail), _given_differing(gained, lost, n, tail)
    return min(score[0], exact[0]), max(score[1], exact[1])


def exact_low(successes: int, n: int, level: float = 0.95) -> float:
    """One-sided lower bound of a share (Clopper and Pearson 1934): covers at least `level` in every setting."""
    return float(betaincinv(successes, n - successes + 1, 1 - level)) if successes else 0.0


def _newcombe(both: int, gained: int, lost: int, n: int, tail: float) -> tuple[float, float]:
    neither, z = n - both - gained - lost, -float(ndtri(tail))
    new, old = (both + gained) / n, (both + lost) / n
    (new_low, new_high), (old_low, old_high) = wilson(both + gained, n, z), wilson(both + lost, n, z)
    cross = both * neither - gained * lost
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    phi = (max(cross - n / 2, 0) if cross > 0 else cross) / math.sqrt(margins) if margins else 0.0
    below = _joint(new - new_low, old_high - old, phi)
    above = _joint(new_high - new, old - old_low, phi)
    return new - old - below, new - old + above


def _joint(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))


def _given_differing(gained: int, lost: int, n: int, tail: float) -> tuple[float, float]:
    differing = gained + lost
    share_low = 0.0 if gained == 0 else float(betaincinv(gained, lost + 1, tail))
    share_high = 1.0 if lost == 0 else float(betaincinv(gained + 1, lost, 1 - tail))
    return (2 * share_low - 1) * differing / n, (2 * share_high - 1) * differing / n
