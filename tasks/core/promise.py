"""The lowest confidence above which enough labels are right, by labels that were held out. K held-out images.

One class at a time: the K images that the teacher puts in it, in the order of its confidence. Of the n surest ones e
are wrong; they show a precision when the one-sided lower bound of Clopper and Pearson (1934) of (n - e) / n reaches it.
Looking for the best n is testing many thresholds, so they are tested in an order fixed beforehand, from strict to
loose, and the first one that fails ends it: fixed-sequence testing, which needs no correction (Maurer et al. 1995; for
risks: Angelopoulos et al. 2021, "Learn then Test", section 2.3).

The order is 3, 4, ... 10 tenths of the K images, without those that are too few to show the target even if all are
right (58 for 0.95). It is the same for all targets, so that a higher one never has a lower threshold. Why this is
valid, what it assumes, and why it starts at three tenths, stands in docs/trust.md.

There is a second witness: the mean calibrated confidence of the n must reach the target too, unless the labels show it
alone, at 99.5 %. It can only take promises back, those that a class with few images would make by luck: of 100 looks at
classes of 0.94, five pass a test for 0.95, and all five are wrong. The confidences know better, as their temperature
comes from the images of all classes.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

LEVEL = 0.95  # one-sided, for each class
ALONE = 0.995  # the level at which labels need no second witness
FIRST, PARTS = 3, 10  # the tests take 3/10, 4/10, ... of a class's held-out images
NEVER = np.nextafter(np.float32(1), np.float32(2))  # the threshold that no confidence reaches
MOST = 5_000  # held-out images of a class: where that many would not do, no more are asked for

Scores = NDArray[np.float32]
Bools = NDArray[np.bool_]


def promise(score_K: Scores, sure_K: Scores, right_K: Bools, target: float) -> np.float32:
    """The lowest threshold that is shown to reach `target`, or NEVER. Equal confidences stand or fall together.

    `score_K` is the confidence that thresholds are about, `sure_K` the calibrated one.
    """
    from_best_K, sum_K, wrong_K = _ordered(score_K, sure_K, right_K)
    found = NEVER
    for size in sequence(len(score_K), target):
        n = int(np.searchsorted(-from_best_K, -from_best_K[size - 1], side="right"))  # with all that tie with the last
        if not passes(n, int(wrong_K[n]), float(sum_K[n]), target):
            break
        found = from_best_K[n - 1]
    return np.float32(found)


def sequence(count: int, target: float) -> list[int]:
    """How many of the surest of `count` images are tested, one after the other; empty where none can pass."""
    sizes = dict.fromkeys(-(-tenths * count // PARTS) for tenths in range(FIRST, PARTS + 1))
    return [n for n in sizes if n >= fewest(target)]


def needed(score_K: Scores, sure_K: Scores, right_K: Bools, target: float) -> int | None:
    """How many more held-out images it takes to pass the first test, if they are right and sure as these are.

    None where MOST of them would not do: then it takes a better teacher.
    """
    _, sum_K, wrong_K = _ordered(score_K, sure_K, right_K)
    have, more = len(score_K), 1
    while have + more <= MOST:
        grown = (have + more) / max(have, 1)
        for n in sequence(have + more, target)[:1]:
            wrong, sure = (np.interp(n / grown, np.arange(have + 1), sums) * grown for sums in (wrong_K, sum_K))
            if passes(n, round(wrong), sure if have else n, target):
                return more
        more += max(1, more // 100)
    return None


@cache
def fewest(target: float) -> int:
    """How many labels show the target when all are right: the least n with target^n <= 5 %."""
    n = max(int(np.log(1 - LEVEL) / np.log(target)), 1)
    return next(size for size in range(max(n - 1, 1), n + 3) if shows(size, 0, target))


def passes(n: int, wrong: int, sure: float, target: float) -> bool:
    """Whether n labels show the target; `sure` is the sum of their calibrated confidences."""
    return shows(n, wrong, target, LEVEL if sure >= target * n else ALONE)


def shows(n: int, wrong: int, target: float, level: float = LEVEL) -> bool:
    """Whether Clopper and Pearson's bound reaches the target: P(Binomial(n, 1 - target) <= wrong) <= 1 - level."""
    return wrong < n and bool(bdtr(wrong, n, 1 - target) <= 1 - level)


def _ordered(score_K: Scores, sure_K: Scores, right_K: Bools) -> tuple[Scores, NDArray[np.float64], NDArray[np.int64]]:
    """Confidences, the largest first; and of the first 0, 1, ... K the sum of the calibrated ones, and the wrong."""
    order_K = np.lexsort((sure_K, right_K, -score_K))
    sure = np.cumsum(sure_K[order_K], dtype=np.float64)
    wrong = np.cumsum(~right_K[order_K], dtype=np.int64)
    return score_K[order_K], np.concatenate([[0.0], sure]), np.concatenate([[0], wrong])
