"""Shall a student become the next teacher: promote, hold, or say that these images cannot tell. Letters: N images,
C classes.

Both nets saw the same images, so every comparison is paired, with one-sided 95 % bounds (RELIABILITY 5.5). With d the
student's accuracy minus the champion's, and L, U its bounds:

    promote       L > -margin: not worse by more than the margin, as far as can be shown
    hold          U < 0; or U < 0 against the anchor, the last net that was shown not to be worse than its champion;
                  or a class's recall, or the calibration, is shown to be worse by more than is allowed
    cannot_tell   neither; `unsure` decides

Without the anchor, students that are each a little worse than the one before, by less than the images can see, could
take the place one after the other without end (benchmarks/gate.py).
"""

from bisect import bisect_left
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from tasks.core.compare import holm, mcnemar_fall, paired_interval
from tasks.core.metrics import Floats, Ints, calibration_error

LEVEL = 0.95  # of each bound by itself
FALL_RISK = 0.01  # of calling a class fallen in a gate where none fell: a loop of five rounds is then at 5 %
RESAMPLES = 1000  # of the bootstrap of the calibration error
FEWEST = 100  # images for a statement about calibration: 15 bins of six or seven
Bools = NDArray[np.bool_]
Verdict = Literal["promote", "hold", "cannot_tell", "not_measured"]
Rule = Literal["not_worse", "worse", "slid", "recall", "calibration", "cannot_tell", "not_measured"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a student may lose. Shares: 0.005 is half a point of accuracy."""

    margin: float  # of accuracy
    recall: float  # of a class's recall
    ece: float  # of the expected calibration error


@dataclass(frozen=True, slots=True)
class Difference:
    """The student's accuracy minus the champion's on the same n images, as shares, with one-sided bounds."""

    n: int
    gained: int  # images only the student gets right
    lost: int  # images only the champion gets right
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Recall:
    """One class: how its recall changed, and how likely a fall that large is if it did not fall."""

    label: int
    n: int
    gained: int
    lost: int
    p_value: float
    adjusted: float  # by Holm over the classes there are images of
    is_shown: bool  # whether it fell at all, at FALL_RISK

    def fell_by_more(self, allowed: float) -> bool:
        """Shown to have fallen at all, and by more than is allowed on these images."""
        return self.is_shown and self.lost - self.gained > allowed * self.n


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration errors, and the one-sided lower bound of how much the student's is larger."""

    champion: float
    student: float
    low: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What the gate's images say, and which rules spoke: the first one decides."""

    verdict: Verdict
    rules: tuple[Rule, ...]
    accuracy: Difference
    resolution: float  # the smallest loss of accuracy that these images would have called worse
    needed: int  # images on which, with as much disagreement, a loss of `margin` would be seen
    recalls: tuple[Recall, ...]
    calibration: Calibration
    since: Difference | None  # the student minus the anchor; None where that is the champion

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def judge(
    student_NC: Floats, champion_NC: Floats, truth_N: Ints, limits: Limits, seed: int, anchor_hit_N: Bools | None = None
) -> Finding:
    """The finding on N > 0 images from both nets' (calibrated) probabilities; `seed` is the bootstrap's.

    `anchor_hit_N`: which images the anchor is right on, where it is not the champion.
    """
    new_N, old_N = student_NC.argmax(axis=1) == truth_N, champion_NC.argmax(axis=1) == truth_N
    found = difference(new_N, old_N)
    recalls = recall_falls(new_N, old_N, truth_N)
    calibration = calibration_loss((student_NC, new_N), (champion_NC, old_N), seed)
    rules: list[Rule] = []
    since = None if anchor_hit_N is None else difference(new_N, anchor_hit_N)
    if _worse(found, limits.margin):
        rules.append("worse")
    elif since and _worse(since, limits.margin):
        rules.append("slid")
    if any(one.fell_by_more(limits.recall) for one in recalls):
        rules.append("recall")
    if calibration.low > limits.ece:
        rules.append("calibration")
    verdict: Verdict = "hold"
    if not rules:
        verdict = "promote" if found.low > -limits.margin else "cannot_tell"
        rules.append("not_worse" if verdict == "promote" else "cannot_tell")
    both = int((new_N & old_N).sum())
    return Finding(
        verdict,
        tuple(rules),
        found,
        resolution(both, found.gained + found.lost, found.n),
        needed((found.gained + found.lost) / found.n, limits.margin),
        recalls,
        calibration,
        since,
    )


def _worse(found: Difference, margin: float) -> bool:
    return found.low <= -margin and found.high < 0


def difference(new_hit_N: Bools, old_hit_N: Bools) -> Difference:
    """Accuracy of the new net minus that of the old one on the same N > 0 images, with one-sided bounds."""
    n = len(new_hit_N)
    both, gained, lost = _table(new_hit_N, old_hit_N)
    low, high = paired_interval(both, gained, lost, n, 2 * LEVEL - 1)
    return Difference(n, gained, lost, (gained - lost) / n, low, high)


def resolution(both: int, differing: int, n: int) -> float:
    """The smallest loss (share) with U < 0, were `differing` images judged differently; more, where those do not do.

    Close to 1.645 sqrt(differing) / n (RELIABILITY 5.5) where they are many.
    """

    def is_shown(loss: int, differing: int) -> bool:
        gained = (differing - loss) // 2
        return paired_interval(min(both, n - differing), gained, differing - gained, n, 2 * LEVEL - 1)[1] < 0

    for enough in range(differing, n + 1):
        losses = range(2 - enough % 2, enough + 1, 2)  # gained + lost is `enough`
        first = bisect_left(losses, True, key=partial(is_shown, differing=enough))
        if first < len(losses):
            return losses[first] / n
    return 1.0


def needed(differing: float, margin: float) -> int:
    """How many images it takes to see a loss of `margin` when the nets differ on the share `differing` of them.

    differing (z / margin)^2, from the normal approximation of the bound; 0 when that cannot be said.
    """
    return int(np.ceil(differing * (float(ndtri(LEVEL)) / margin) ** 2)) if margin > 0 else 0


def recall_falls(new_hit_N: Bools, old_hit_N: Bools, truth_N: Ints) -> tuple[Recall, ...]:
    """Each class that has images, in order: is its recall shown to have fallen?

    Exact McNemar test within the class, adjusted over all classes that have images (Holm 1979): where no class fell,
    one is called fallen in at most FALL_RISK of all gates, whatever the classes' sizes and however alike the nets.
    """
    labels = np.unique(truth_N)
    tables = [_table(new_hit_N[truth_N == c], old_hit_N[truth_N == c]) for c in labels]
    p_values = [mcnemar_fall(gained, lost) for _, gained, lost in tables]
    return tuple(
        Recall(int(c), int((truth_N == c).sum()), gained, lost, p, adjusted, adjusted < FALL_RISK)
        for c, (_, gained, lost), p, adjusted in zip(labels, tables, p_values, holm(p_values), strict=True)
    )


def calibration_loss(student: tuple[Floats, Bools], champion: tuple[Floats, Bools], seed: int) -> Calibration:
    """Each is probabilities (N, C) and hits (N,). The bound is the paired bootstrap's, images drawn together for both.

    The lower of the percentile and the basic bound (Davison and Hinkley 1997, section 5.2). Below FEWEST images, where
    a bootstrap knows too little of what was not drawn, nothing is shown: -1.
    """
    confident = [(prob_NC.max(axis=1), hit_N) for prob_NC, hit_N in (student, champion)]
    new, old = (calibration_error(*one) for one in confident)
    random, n = np.random.default_rng(seed), len(student[1])
    drawn = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        rows = random.integers(0, n, n)
        one, other = (calibration_error(confidence_N[rows], hit_N[rows]) for confidence_N, hit_N in confident)
        drawn[i] = one - other
    below, above = np.quantile(drawn, [1 - LEVEL, LEVEL])
    return Calibration(old, new, float(min(below, 2 * (new - old) - above)) if n >= FEWEST else -1.0)


def _table(new_hit_N: Bools, old_hit_N: Bools) -> tuple[int, int, int]:
    """How many images both nets get right, only the new one, only the old one."""
    return (
        int((new_hit_N & old_hit_N).sum()),
        int((new_hit_N & ~old_hit_N).sum()),
        int((~new_hit_N & old_hit_N).sum()),
    )
