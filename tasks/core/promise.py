"""The lowest confidence above which enough labels are right, by labels that were held out. K held-out images.

One class at a time: the K images that the teacher puts in it, in the order of its confidence. A threshold must pass two
examinations, which err in different ways (docs/trust.md has the reasons, what they assume, and what was measured).

Evidence. Of the n surest images e are wrong; they show a precision when the one-sided lower bound of Clopper and
Pearson (1934) of (n - e) / n reaches it. Looking for the best n is testing many thresholds, so they are tested in an
order fixed beforehand, from strict to loose, and the first one that fails ends it: fixed-sequence testing, which needs
no correction (Maurer et al. 1995; for risks: Angelopoulos et al. 2021, "Learn then Test", section 2.3). The order is 3,
4, ... 10 tenths of the K images, without those that are too few to show the target even if all are right (58 for 0.95).

Belief. 5 % of all tests is not 5 % of all promises: of 100 looks at classes of 0.94 five pass a test for 0.95, and all
five are wrong. So the probability that the target is reached, given all K images and what the calibrated confidences
say, must be high as well. In the class an image of calibrated confidence q is right with the odds
(q / (1 - q))^s · exp(d); its slope s is log-normal around 1 and its offset d normal around 0 before anything is seen
(Cox 1958, "Two further applications of a model for binary regression": how far confidences are from what they say). A
posterior probability stays what it is when one only looks at the classes that passed (Dawid 1994, "Selection
paradoxes of Bayesian inference"), as far as the model holds; so it must be very high. It can only take promises back.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, expit, log_expit, logit

LEVEL = 0.95  # of the evidence: one-sided, for each class
BELIEF = 0.999  # how probable it must be that the target is reached
SPREAD = 1.0  # of the offset, before anything is seen: that of 50-label teachers' classes (docs/trust.md)
SLOPES = 0.3  # the spread of the slope's logarithm
OFFSET_G, SLOPE_G = np.array(list(product(np.linspace(-4, 4, 161), np.linspace(-2.5, 2.5, 11)))).T  # in spreads
PRIOR_G = -(OFFSET_G**2 + SLOPE_G**2) / 2  # the log density, where it is looked at
OFFSET_G, SLOPE_G = SPREAD * OFFSET_G, np.exp(SLOPES * SLOPE_G)
AT_ONCE = 256  # images: K x G numbers need not fit into memory
FIRST, PARTS = 3, 10  # the tests take 3/10, 4/10, ... of a class's held-out images
NEVER = np.nextafter(np.float32(1), np.float32(2))  # the threshold that no confidence reaches
MOST = 5_000  # held-out images of a class: where that many would not do, no more are asked for
SUREST = 1 - 1e-6  # a confidence of 1 has no odds

Scores = NDArray[np.float32]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def promise(score_K: Scores, sure_K: Scores, right_K: Bools, target: float) -> np.float32:
    """The lowest threshold that is shown to reach `target`, or NEVER. Equal confidences stand or fall together.

    `score_K` is the confidence that thresholds are about, `sure_K` the calibrated one.
    """
    if len(score_K) < fewest(target):
        return np.float32(NEVER)
    known, found = Known.of(score_K, sure_K, right_K), NEVER
    shown = [shows(int(n), int(known.wrong_K[n]), target) for n in known.end_T]
    tested = [size >= fewest(target) for size in sizes(len(score_K))]
    if not shown[tested.index(True)]:
        return np.float32(NEVER)  # the usual end, before anything is asked that takes time
    for n, test, evidence, belief in zip(
        known.end_T, tested, shown, known.belief(target, known.expected()), strict=True
    ):
        if belief < BELIEF or (test and not evidence):
            break
        if test:
            found = known.score_K[n - 1]
    return np.float32(found)


def needed(score_K: Scores, sure_K: Scores, right_K: Bools, target: float) -> int | None:
    """How many more held-out images it takes to pass the first test, if they are right and sure as these are.

    None where MOST of them would not do: then it takes a better teacher.
    """
    known, have, more = Known.of(score_K, sure_K, right_K), len(score_K), 1
    expected = known.expected()
    while have + more <= MOST:
        grown = (have + more) / max(have, 1)
        test = next((t for t, n in enumerate(sizes(have + more)) if n >= fewest(target)), None)
        if test is not None:
            n = sizes(have + more)[test]
            wrong = round(float(np.interp(n / grown, np.arange(have + 1), known.wrong_K)) * grown)
            if shows(n, wrong, target) and (not have or known.belief(target, expected, grown)[test] >= BELIEF):
                return more
        more += max(1, more // 100)
    return None


@cache
def sizes(count: int) -> list[int]:
    """How many of the surest of `count` images are tested, one after the other; the first ones may be too few."""
    return [-(-tenths * count // PARTS) for tenths in range(FIRST, PARTS + 1)]


@cache
def fewest(target: float) -> int:
    """How many labels show the target when all are right: the least n with target^n <= 5 %."""
    n = max(int(np.log(1 - LEVEL) / np.log(target)), 1)
    return next(size for size in range(max(n - 1, 1), n + 3) if shows(size, 0, target))


def shows(n: int, wrong: int, target: float) -> bool:
    """Whether Clopper and Pearson's bound reaches the target: P(Binomial(n, 1 - target) <= wrong) <= 5 %."""
    return wrong < n and bool(bdtr(wrong, n, 1 - target) <= 1 - LEVEL)


@dataclass(frozen=True, slots=True)
class Known:
    """A class's held-out images, the most confident first. T tests, G pairs of an offset and a slope."""

    score_K: Scores
    odds_K: Floats  # the logarithm of q / (1 - q)
    wrong_K: NDArray[np.int64]  # of the first 0, 1, ... K
    end_T: NDArray[np.int64]  # how many each test takes, with all that tie with its last

    @classmethod
    def of(cls, score_K: Scores, sure_K: Scores, right_K: Bools) -> "Known":
        """From the images in any order."""
        order_K = np.lexsort((sure_K, right_K, -score_K))
        from_best_K = score_K[order_K]
        odds_K = logit(np.clip(sure_K[order_K].astype(np.float64), 1 - SUREST, SUREST))
        wrong_K = np.concatenate([[0], np.cumsum(~right_K[order_K])])
        least_T = np.array(sizes(len(score_K)), np.int64)
        end_T = np.searchsorted(-from_best_K, -from_best_K[least_T - 1], side="right") if len(score_K) else least_T
        return cls(from_best_K, odds_K, wrong_K, end_T)

    def expected(self) -> tuple[Floats, Floats]:
        """At each offset and slope: how many of each test's images are right (T, G); all images' log likelihood."""
        right_TG, likely_G, right_G = np.zeros((len(self.end_T), len(PRIOR_G))), 0 * PRIOR_G, 0 * PRIOR_G
        for test, (start, end) in enumerate(zip([0, *self.end_T[:-1]], self.end_T, strict=True)):
            for first in range(start, end, AT_ONCE):
                last = min(first + AT_ONCE, end)
                odds_BG = self.odds_K[first:last, None] * SLOPE_G + OFFSET_G
                right_G = right_G + expit(odds_BG).sum(axis=0)
                right_B1 = np.diff(self.wrong_K[first : last + 1])[:, None] == 0
                likely_G = likely_G + log_expit(np.where(right_B1, odds_BG, -odds_BG)).sum(axis=0)
            right_TG[test] = right_G
        return right_TG, likely_G

    def belief(self, target: float, expected: tuple[Floats, Floats], grown: float = 1.0) -> Floats:
        """How probable it is, for each test, that its images are right as often as `target`, (T,).

        `grown`: as if there were that many times as many images like these.
        """
        right_TG, likely_G = expected
        log_G = grown * likely_G + PRIOR_G
        weight_G = np.exp(log_G - log_G.max())
        reached_TG = right_TG >= target * self.end_T[:, None]
        probable_T: Floats = reached_TG @ weight_G / weight_G.sum()
        return probable_T
