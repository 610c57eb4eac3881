"""Has the pool, or what teachers say of it, moved? Letters: C classes, K reference images, B images of a batch.

Shift: the softmax outputs of a batch against those of a reference by two-sample Kolmogorov-Smirnov tests, one per
output, with Bonferroni's correction (BBSD: Rabanser, Günnemann, Lipton 2019, "Failing Loudly"). Two things are added.

- Another mix of the same classes is no foreign data. Under label shift p(x|y) stays, so images that the teacher takes
  for one class are compared with reference images that it takes for that class: the reference is weighted to the
  batch's shares of predicted classes (post-stratification).
- With many images everything is significant, so the distance counts too. Where a share e of a batch is foreign and the
  rest is like the reference, no distance exceeds e but by chance: the distance is the least share that is foreign.

Flips: what the run before said of the same images, and whether a number is unusual beside past runs.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, kolmogorov, stdtrit

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

POOLED = 5  # images of all classes that every class borrows where confidence is compared: a class may have 5 or none
BIAS = 0.25  # how far the outputs of a biased reference may lie by themselves; measured by benchmarks/drift.py
LENIENT = 5.0  # its bias makes the test of confidence that much too strict
THREE_SD = 0.99865  # the share of a normal distribution below mean + 3 standard deviations


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a batch lies from its reference, apart from its mix of classes. Both p count the C + 1 tests."""

    images: int  # of the batch
    reference: int
    unsure: float  # how much more of the batch than of the reference lies below the worst level of confidence
    unsure_p: float
    outputs: float  # the largest KS distance of an output
    outputs_p: float
    output: int  # of which class

    def foreign(self, limit: float, level: float, tests: int, exact: bool) -> float | None:
        """The least share of the batch that is foreign, where that is more than `limit` and more than chance.

        `level`: chance of a false alarm over all `tests` of a run. A reference is not `exact` where its own nets learnt
        from fewer labels (cross-fitting), or where the net learnt from the pool: then the pool comes out the more
        confident by itself, and only less confidence, or outputs far beyond that bias, are a sign.
        """
        bias, leniency = (0.0, 1.0) if exact else (BIAS, LENIENT)
        found = [
            distance
            for distance, p, allowed in (
                (self.unsure, self.unsure_p, level * leniency),
                (self.outputs - bias, self.outputs_p, level),
            )
            if distance > limit and p * tests <= allowed
        ]
        return max(found, default=None)


def shift(reference_KC: Floats, batch_BC: Floats) -> Shift:
    """The batch's softmax outputs against the reference's; neither may be empty."""
    classes = batch_BC.shape[1]
    weight_K = weights(reference_KC, batch_BC, POOLED)
    unsure, _ = gap(reference_KC.max(axis=1), batch_BC.max(axis=1), weight_K)
    unsure_p = math.exp(-2 * _size(weight_K, len(batch_BC)) * unsure**2)
    outputs, outputs_p, output = 0.0, 1.0, 0
    weight_K = weights(reference_KC, batch_BC, 0)
    same_B = np.isin(batch_BC.argmax(axis=1), reference_KC.argmax(axis=1))  # classes that the reference has
    if same_B.any():
        gaps = [max(gap(reference_KC[:, j], batch_BC[same_B, j], weight_K)) for j in range(classes)]
        output = int(np.argmax(gaps))
        outputs = gaps[output]
        outputs_p = float(kolmogorov(math.sqrt(_size(weight_K, int(same_B.sum()))) * outputs))
    both = 2  # half of the level for the confidence, half for the C outputs
    return Shift(
        len(batch_BC),
        len(reference_KC),
        unsure,
        min(1.0, both * unsure_p),
        outputs,
        min(1.0, both * classes * outputs_p),
        output,
    )


def weights(reference_KC: Floats, batch_BC: Floats, pooled: float) -> NDArray[np.float64]:
    """Weights (K,), sum 1, that give the reference the batch's shares of predicted classes.

    A class of n reference images is described by them and, as if they were `pooled` more, by all K. Without pooling,
    images of the batch in classes that the reference has not are left out. Zeros where nothing is left.
    """
    classes = batch_BC.shape[1]
    predicted_K = reference_KC.argmax(axis=1)
    reference_C = np.bincount(predicted_K, minlength=classes)
    batch_C = np.bincount(batch_BC.argmax(axis=1), minlength=classes).astype(np.float64)
    known_C = reference_C + pooled
    share_C = np.divide(batch_C, known_C, out=np.zeros(classes), where=known_C > 0)
    weight_K: NDArray[np.float64] = share_C[predicted_K] + pooled * share_C.sum() / len(predicted_K)
    total = float(weight_K.sum())
    return weight_K / total if total else weight_K


def gap(reference_K: Floats, batch_B: Floats, weight_K: NDArray[np.float64]) -> tuple[float, float]:
    """The largest excess of the batch's distribution function over the reference's, and the other way round.

    Both are at least 0; the larger one is the KS distance. The first says that the batch lies lower.
    """
    value_M = np.concatenate([reference_K, batch_B])
    step_M = np.concatenate([weight_K, np.full(len(batch_B), -1 / len(batch_B))])
    order_M = np.argsort(value_M, kind="stable")
    ends_M = np.append(np.diff(value_M[order_M]) != 0, True)
    difference_M = np.cumsum(step_M[order_M])[ends_M]
    return max(-float(difference_M.min()), 0.0), max(float(difference_M.max()), 0.0)


def _size(weight_K: NDArray[np.float64], batch: int) -> float:
    """n m / (n + m); weighted images are worth (sum w)^2 / sum w^2 (Kish 1965)."""
    worth = float(weight_K.sum() ** 2 / np.square(weight_K).sum())
    return worth * batch / (worth + batch)


@dataclass(frozen=True, slots=True)
class Flips:
    """Labels of the same images in two runs. Letters: N images; a label below 0 is none."""

    images: int
    flips: int
    confident: int  # images that the run before was sure of
    confident_flips: int
    before_C: Ints  # images of each class in the run before
    left_C: Ints  # of them now another class
    joined_C: Ints  # from another class


def flips(before_N: Ints, now_N: Ints, confident_N: NDArray[np.bool_], classes: int) -> Flips:
    """Count them; `confident_N`: was the run before sure."""
    changed_N = before_N != now_N

    def count(label_N: Ints) -> Ints:
        return np.bincount(label_N[label_N >= 0], minlength=classes)

    return Flips(
        len(now_N),
        int(changed_N.sum()),
        int(confident_N.sum()),
        int((changed_N & confident_N).sum()),
        count(before_N),
        count(before_N[changed_N]),
        count(now_N[changed_N]),
    )


def moved(share_C: Floats, other_C: Floats) -> float:
    """Total variation of two distributions over classes: the share that must move to make one of the other."""
    return float(np.abs(share_C - other_C).sum() / 2)


def at_least(count: int, n: int, level: float = 0.95) -> float:
    """One-sided lower bound of a share (Clopper, Pearson 1934); 0 where nothing was counted."""
    return float(betaincinv(count, n - count + 1, 1 - level)) if count else 0.0


def usual(past: list[float]) -> tuple[float, float]:
    """Mean of two or more past runs, and how far from it the next one may lie.

    The prediction interval of a normal distribution at the level of 3 standard deviations. With few runs the factor is
    larger than 3 (Student's t), because their spread is not known any better: 5 runs 7.3, 10 runs 4.3, 100 runs 3.1.
    """
    n = len(past)
    factor = float(stdtrit(n - 1, THREE_SD)) * math.sqrt(1 + 1 / n)
    return float(np.mean(past)), factor * float(np.std(past, ddof=1))
