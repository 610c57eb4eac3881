"""What several seeds of one loop say together: mean, spread and paired differences. Letters: S seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 3  # seeds; below it nothing is claimed (RELIABILITY 5.9)


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation (n - 1 in the denominator; None for a single value) of n shares."""

    n: int
    mean: float
    std: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A new net minus an old one over n seeds, in shares; the interval is None where n is too small for one."""

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None
    verdict: str  # better, worse, within noise, or no claim


def spread(values_S: Sequence[float]) -> Spread:
    """Mean and standard deviation of S > 0 values."""
    n = len(values_S)
    return Spread(n, float(np.mean(values_S)), float(np.std(values_S, ddof=1)) if n > 1 else None)


def paired(new_S: Sequence[float], old_S: Sequence[float], level: float = 0.95) -> Difference:
    """Compare two nets seed by seed: mean difference with Student's interval for paired samples.

    Both nets of a seed share its split and its start, so what the seed does to both cancels out (Bouthillier et al.,
    arXiv:2103.03098). Fewer than three seeds make no claim; nor do differences that are all the same and not 0, whose
    spread, and with it the interval, would be none at all.
    """
    from scipy.special import stdtrit

    differences_S = np.subtract(new_S, old_S)
    found = spread(differences_S.tolist())
    if found.n < FEWEST or found.std is None:
        return Difference(found.n, found.mean, found.std, None, None, "no claim")
    half = float(stdtrit(found.n - 1, (1 + level) / 2)) * found.std / math.sqrt(found.n)
    low, high = found.mean - half, found.mean + half
    if np.ptp(differences_S) < 1e-12:
        verdict = "within noise" if abs(found.mean) < 1e-12 else "no claim"
    else:
        verdict = "better" if low > 0 else "worse" if high < 0 else "within noise"
    return Difference(found.n, found.mean, found.std, low, high, verdict)
