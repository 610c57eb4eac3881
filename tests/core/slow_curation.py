"""The first version of curation, kept as the slow reference: everything in memory, one sort of the whole pool.

N pool images, C classes.

Noisy Student, section 3.1 (filtering and balancing): keep the confident ones, take the same number of each class with
the highest confidence first, and duplicate images of classes that have too few.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

REASONS = ("kept", "low_confidence", "class_full", "human_label", "human_rejected")
KEPT, LOW_CONFIDENCE, CLASS_FULL, HUMAN_LABEL, HUMAN_REJECTED = range(len(REASONS))
NO_DECISION, REJECTED = -1, -2


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
    *,
    threshold: float,
    per_class: int | Literal["mean"] | None,
    max_copies: int,
    labels: Literal["soft", "hard"],
    temperature: float,
) -> Curated:
    """Choose, count and label the pool.

    `prob_NC`: the teacher's probabilities, rows sorted by image_id. `human_N`: -1 no decision, -2 rejected by a person,
    0 and up the class a person set, which is always kept, with a one-hot target, and counts in its class.
    `temperature`: p^(1/T), normalised, before anything else. Kept: confidence >= `threshold`. `per_class`: images
    wanted of each class (`mean`: the mean over classes with any, rounded), most confident first, ties by row; a class
    with fewer is duplicated up to it, each image at most `max_copies` times, the most confident ones first.
    ValueError names the first bad row.
    """
    _refuse_bad_rows(prob_NC, human_N)
    classes = prob_NC.shape[1]
    soft_NC = _tempered(prob_NC, temperature)
    label_N = soft_NC.argmax(axis=1)
    confidence_N = soft_NC.max(axis=1)
    human = human_N >= 0
    label_N[human] = human_N[human]
    confidence_N[human] = 1.0

    reason_N = np.where(confidence_N >= threshold, KEPT, LOW_CONFIDENCE).astype(np.int8)
    reason_N[human] = HUMAN_LABEL
    reason_N[human_N == REJECTED] = HUMAN_REJECTED
    copies_N = _copies(label_N, confidence_N, reason_N, classes, per_class, max_copies)
    reason_N[(reason_N == KEPT) & (copies_N == 0)] = CLASS_FULL

    one_hot = human if labels == "soft" else np.ones_like(human)
    soft_NC[one_hot] = np.eye(classes, dtype=np.float32)[label_N[one_hot]]
    return Curated(label_N.astype(np.int64), confidence_N.astype(np.float32), copies_N, reason_N, soft_NC)


def _refuse_bad_rows(prob_NC: NDArray[Any], human_N: NDArray[Any]) -> None:
    bad_N = ~(np.isfinite(prob_NC).all(axis=1) & (prob_NC >= 0).all(axis=1) & (prob_NC.sum(axis=1) > 0))
    if bad_N.any():
        row = int(bad_N.argmax())
        raise ValueError(f"row {row}: {prob_NC[row].tolist()} is no distribution over classes")
    unknown_N = (human_N < REJECTED) | (human_N >= prob_NC.shape[1])
    if unknown_N.any():
        row = int(unknown_N.argmax())
        raise ValueError(f"row {row}: a person set class {int(human_N[row])}; known: 0 to {prob_NC.shape[1] - 1}")


def _tempered(prob_NC: NDArray[Any], temperature: float) -> NDArray[np.float32]:
    """p^(1/T) normalised; relative to the largest of each row, so that a small T cannot make every class 0."""
    power_NC = (prob_NC.astype(np.float64) / prob_NC.max(axis=1, keepdims=True)) ** (1 / temperature)
    soft_NC: NDArray[np.float32] = (power_NC / power_NC.sum(axis=1, keepdims=True)).astype(np.float32)
    return soft_NC


def _copies(
    label_N: NDArray[Any],
    confidence_N: NDArray[Any],
    reason_N: NDArray[Any],
    classes: int,
    per_class: int | Literal["mean"] | None,
    max_copies: int,
) -> NDArray[np.int32]:
    """How often each image is shown. In a class people's labels come first, then the most confident, then by row."""
    copies_N = np.zeros(len(label_N), dtype=np.int32)
    human = reason_N == HUMAN_LABEL
    chosen_K = np.flatnonzero((reason_N == KEPT) | human)
    if per_class is None or not len(chosen_K):
        copies_N[chosen_K] = 1
        return copies_N
    order_K = chosen_K[np.lexsort((-confidence_N[chosen_K], ~human[chosen_K], label_N[chosen_K]))]
    count_C = np.bincount(label_N[chosen_K], minlength=classes)
    human_C = np.bincount(label_N[human], minlength=classes)
    wanted = per_class if per_class != "mean" else int(count_C[count_C > 0].mean() + 0.5)
    kept_C = np.maximum(np.minimum(count_C, wanted), human_C)
    shown_C = np.clip(wanted, kept_C, kept_C * max_copies)
    rank_K = np.arange(len(order_K)) - np.repeat(np.cumsum(count_C) - count_C, count_C)
    label_K = label_N[order_K]
    base_C, rest_C = np.divmod(shown_C, np.maximum(kept_C, 1))
    copies_N[order_K] = np.where(rank_K < kept_C[label_K], base_C[label_K] + (rank_K < rest_C[label_K]), 0)
    return copies_N
