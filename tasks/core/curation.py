"""Which pseudo-labels are trusted, and how often each is shown. N pool images, B in a block, C classes, S sources.

Noisy Student, section 3.1 (filtering and balancing): keep the confident ones, take the same number of each class with
the highest confidence first, and duplicate images of classes that have too few.

Of each image a label and a key, 6 to 8 bytes, are kept in memory while the pool is decided on; probabilities and ids
pass by in blocks. The key is the confidence's bits (float32 as int32): positive while the image is in the running,
negated once it is filtered out, and moved below -2^30 where a person rejected it, so that the confidence can always be
read back. A label set by a person has the key above 1.0: it ranks first and is never filtered.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.core import thresholds
from tasks.core.belief import UNIT, Align, exact_sum, prior_ratio, refuse_bad_rows, reweighted, tempered
from tasks.core.caps import cap_sources
from tasks.core.selection import (
    PERSON,
    SURE,
    Counts,
    Cut,
    Groups,
    Histogram,
    Keys,
    count_between,
    cut,
    each_block,
    histogram,
)

REASONS = (
    "kept",
    "low_confidence",
    "class_full",
    "human_label",
    "human_rejected",
    "source_cap",
    "below_promise",  # of a class whose target_precision is not reached; not learnt from
    "kept_soft",  # of such a class too, but learnt from with the teacher's distribution
)
KEPT, LOW_CONFIDENCE, CLASS_FULL, HUMAN_LABEL, HUMAN_REJECTED, SOURCE_CAP, BELOW_PROMISE, KEPT_SOFT = range(
    len(REASONS)
)
NO_DECISION, REJECTED = -1, -2

ASIDE = 1 << 30  # rejected by a person: -(key + ASIDE)
PerClass = int | Literal["mean"] | None


@dataclass(frozen=True, slots=True)
class Curated:
    """One row for each pool image, in the order given; every image has exactly one reason."""

    label_N: NDArray[np.int64]
    confidence_N: NDArray[np.float32]  # 1 where a person set the label
    copies_N: NDArray[np.int32]  # 0 where not kept
    reason_N: NDArray[np.int8]  # index into REASONS
    target_NC: NDArray[np.float32]


def curate(
    prob_NC: NDArray[np.floating[Any]],
    human_N: NDArray[np.integer[Any]],
    source_N: Groups,
    labeled_C: NDArray[np.floating[Any]],
    *,
    threshold: float,
    adaptive: thresholds.Adaptive,
    align: Align | NDArray[np.float64],
    source_cap: float | None,
    per_class: PerClass,
    max_copies: int,
    labels: Literal["soft", "hard"],
    temperature: float,
) -> Curated:
    """Choose, count and label a pool that fits into memory, by the same steps as the stage takes block by block.

    `prob_NC`: the teacher's probabilities, rows sorted by image_id. `human_N`: -1 no decision, -2 rejected by a person,
    0 and up the class a person set, which is always kept, with a one-hot target, and counts in its class.
    `source_N`: which source each image is from; `labeled_C`: how many labeled images of each class there are.
    In this order: `temperature`, `align`, the thresholds, `source_cap`, `per_class` with `max_copies`.
    ValueError names the first bad row.
    """
    refuse_bad_rows(prob_NC, human_N)
    soft_NC = tempered(prob_NC, temperature)
    soft_NC = reweighted(soft_NC, prior_ratio(align, lambda: [soft_NC], labeled_C))
    label_N, key_N = choose(soft_NC, human_N)
    plan = decide(
        label_N,
        key_N,
        source_N,
        Mean.of(soft_NC[human_N == NO_DECISION]),
        prob_NC.shape[1],
        threshold=threshold,
        adaptive=adaptive,
        source_cap=source_cap,
        per_class=per_class,
        max_copies=max_copies,
    )
    copies_N, reason_N = Dealer(plan).deal(label_N, key_N)

    one_hot = (human_N >= 0) if labels == "soft" else np.ones(len(label_N), dtype=bool)
    soft_NC = np.array(soft_NC)
    soft_NC[one_hot] = np.eye(prob_NC.shape[1], dtype=np.float32)[label_N[one_hot]]
    return Curated(label_N.astype(np.int64), confidence(key_N), copies_N, reason_N, soft_NC)


def label_type(classes: int) -> type[np.int16] | type[np.int32]:
    """The smallest type that holds every class."""
    return np.int16 if classes <= np.iinfo(np.int16).max else np.int32


def choose(
    soft_BC: NDArray[np.float32], human_B: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.signedinteger[Any]], Keys]:
    """Label and key of each row: the teacher's best class and its confidence, or what a person said."""
    label_B = soft_BC.argmax(axis=1).astype(label_type(soft_BC.shape[1]))
    key_B = soft_BC.max(axis=1).view(np.int32)
    set_B, rejected_B = human_B >= 0, human_B == REJECTED
    label_B[set_B] = human_B[set_B]
    key_B[set_B] = PERSON
    key_B[rejected_B] = -(key_B[rejected_B] + ASIDE)
    return label_B, key_B


def confidence(key_B: Keys) -> NDArray[np.float32]:
    """The confidence a key stands for, filtered out or not; 1 where a person set the label."""
    bits_B = np.abs(key_B)
    bits_B[bits_B >= ASIDE] -= ASIDE
    return np.minimum(bits_B, SURE).view(np.float32)


@dataclass(frozen=True, slots=True)
class Mean:
    """Exact sums over images: of their confidence, and of each class's probability. They add up in any order."""

    images: int
    confidence: int  # in units of 2^-32
    prob_C: Counts  # in units of 2^-32

    @classmethod
    def of(cls, soft_BC: NDArray[np.float32]) -> "Mean":
        """The sums over some images."""
        best_B1 = soft_BC.max(axis=1, keepdims=True) if len(soft_BC) else soft_BC[:, :1]
        return cls(len(soft_BC), int(exact_sum(best_B1)[0]), exact_sum(soft_BC))

    def __add__(self, other: "Mean") -> "Mean":
        return Mean(self.images + other.images, self.confidence + other.confidence, self.prob_C + other.prob_C)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is shown of each class: images above `kept`, `base_C` times each, and once more those above `extra`."""

    floor_C: Keys
    kept: Cut
    extra: Cut
    base_C: Counts
    kept_C: Counts  # images
    duplicates: bool  # is any image shown more than once


def decide(
    label_N: Groups,
    key_N: Keys,
    source_N: Groups,
    mean: Mean,
    classes: int,
    *,
    threshold: float | NDArray[np.float32],
    adaptive: thresholds.Adaptive,
    source_cap: float | None,
    per_class: PerClass,
    max_copies: int,
    threads: int = 1,
) -> Plan:
    """Thresholds, source caps and balance over a whole pool, in this order. Negates the keys that are filtered out.

    `threshold`: one for all, or one a class (C,), which `adaptive` leaves alone; promise.NEVER closes a class to all
    but people's labels. `mean`: over the images that nobody decided on. `source_N` is not looked at without a cap.
    """
    floor_C = floors(label_N, key_N, threshold, adaptive, mean, classes, threads)
    screen(label_N, key_N, floor_C, threads)
    if source_cap is not None:
        cap_sources(source_N, key_N, source_cap, threads)
    return balance(label_N, key_N, floor_C, per_class, max_copies, threads)


def floors(
    label_N: Groups,
    key_N: Keys,
    threshold: float | NDArray[np.float32],
    adaptive: thresholds.Adaptive,
    mean: Mean,
    classes: int,
    threads: int = 1,
) -> Keys:
    """The least key of each class that is kept, (C,). `mean` is over the images that nobody decided on."""
    fixed_C = thresholds.fixed(threshold, classes)
    if not isinstance(threshold, float):
        return _key(fixed_C)
    if adaptive == "flexmatch":
        confident_C = count_between(label_N, key_N, classes, int(_key(fixed_C)[0]), SURE, threads)
        return _key(thresholds.flexmatch(threshold, confident_C))
    if adaptive == "freematch":
        unit = UNIT * max(mean.images, 1)
        return _key(thresholds.freematch(mean.confidence / unit, mean.prob_C / unit))
    return _key(fixed_C)


def screen(label_N: Groups, key_N: Keys, floor_C: Keys, threads: int = 1) -> None:
    """Negate, in place, the key of every image below its class's threshold."""
    same = bool((floor_C == floor_C[0]).all())

    def negate(rows: slice) -> None:
        key_B = key_N[rows]
        floor_B = floor_C[0] if same else floor_C[label_N[rows]]
        np.negative(key_B, out=key_B, where=(key_B > 0) & (key_B < floor_B))

    for _ in each_block(len(key_N), threads, negate):
        pass


def balance(
    label_N: Groups, key_N: Keys, floor_C: Keys, per_class: PerClass, max_copies: int, threads: int = 1
) -> Plan:
    """Balancing (Noisy Student, section 3.1), exact: in a class people's labels come first, then the most confident,

    then by row. `per_class` images are wanted of each class (`mean`: the mean over classes with any, rounded; None: all
    there are); a class with fewer is duplicated up to it, each image at most `max_copies` times, the first ones first.
    """
    classes = len(floor_C)
    first = histogram(label_N, key_N, classes, max(int(floor_C.min()), 1), PERSON, threads)
    count_C = first.count_G
    if per_class is None or not count_C.any():
        return Plan(
            floor_C,
            *_cuts(label_N, key_N, first, count_C, 0 * count_C, threads),
            np.minimum(count_C, 1),
            count_C,
            False,
        )
    human_C = count_between(label_N, key_N, classes, PERSON, PERSON, threads)
    wanted = per_class if per_class != "mean" else int(count_C[count_C > 0].mean() + 0.5)
    kept_C = np.maximum(np.minimum(count_C, wanted), human_C)
    shown_C = np.clip(wanted, kept_C, kept_C * max_copies)
    base_C, rest_C = np.divmod(shown_C, np.maximum(kept_C, 1))
    return Plan(
        floor_C, *_cuts(label_N, key_N, first, kept_C, rest_C, threads), base_C, kept_C, bool((shown_C > kept_C).any())
    )


class Dealer:
    """Carries a plan out on the images in their order, block by block; it remembers how many ties have passed."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._kept_C, self._extra_C = (np.zeros(len(plan.floor_C), dtype=np.int64) for _ in range(2))

    def deal(self, label_B: Groups, key_B: Keys) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Copies and reasons of the next block."""
        plan = self.plan
        kept_B = plan.kept.takes(label_B, key_B, self._kept_C)
        copies_B = kept_B.astype(np.int32)
        if plan.duplicates:
            copies_B *= plan.base_C.astype(np.int32)[label_B]
            copies_B += plan.extra.takes(label_B, key_B, self._extra_C)
        reason_B = np.where(kept_B, KEPT, CLASS_FULL).astype(np.int8)
        reason_B[key_B == PERSON] = HUMAN_LABEL
        out_K = np.flatnonzero(key_B < 0)
        below_K = -key_B[out_K] < plan.floor_C[label_B[out_K]]
        reason_B[out_K] = np.where(below_K, LOW_CONFIDENCE, SOURCE_CAP)
        reason_B[out_K[plan.floor_C[label_B[out_K]] == PERSON]] = BELOW_PROMISE
        reason_B[key_B < -ASIDE] = HUMAN_REJECTED
        return copies_B, reason_B


def _cuts(
    label_N: Groups, key_N: Keys, first: Histogram, kept_C: Counts, rest_C: Counts, threads: int
) -> tuple[Cut, Cut]:
    return cut(label_N, key_N, first, kept_C, threads), cut(label_N, key_N, first, rest_C, threads)


def _key(threshold_C: NDArray[np.float32]) -> Keys:
    return np.maximum(threshold_C.view(np.int32), 1)
