"""What a teacher's stored probabilities are taken to say: calibration, temperature, then a prior.

Letters: B or N images, C classes.

Every sum over the pool is taken in whole numbers (units of 2^-32), so it is exact: the order of the images, the size of
the blocks and the number of threads cannot move a threshold by a bit. The pool may have up to 2^31 images.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Align = Literal["none", "uniform", "labeled", "estimated"]
Blocks = Callable[[], Iterable[NDArray[np.float32]]]  # starts one more pass over the pool's probabilities (B, C)

UNIT = 2.0**32
MOST_STEPS, STILL = 200, 1e-6  # EM ends when no class's share of the pool moves by more than this


@dataclass(frozen=True, slots=True)
class Reading:
    """How stored probabilities are read: p^(1/temperature)·weight, normalised. Every step there is has this form, so

    any number of them costs one power and one product: no pass and no table more.
    """

    temperature: float
    weight_C: NDArray[np.float64] | None = None

    def soft(self, prob_BC: NDArray[Any]) -> NDArray[np.float32]:
        """What the rows say, read like that."""
        if self.temperature == 1 and self.weight_C is None:
            return tempered(prob_BC, 1.0)
        return powered(prob_BC, self.temperature, self.weight_C)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"temperature": self.temperature, "weight": None if self.weight_C is None else self.weight_C.tolist()}

    @classmethod
    def made(cls, found: dict[str, Any]) -> "Reading":
        """The reading that `as_dict` wrote down."""
        weight = found["weight"]
        return cls(found["temperature"], None if weight is None else np.array(weight, dtype=np.float64))

    def then(self, temperature: float, weight_C: NDArray[np.float64] | None = None) -> "Reading":
        """This reading, read once more: (p^(1/T)·w)^(1/t)·v = p^(1/(T·t))·w^(1/t)·v."""
        ours_C = None if self.weight_C is None else self.weight_C ** (1 / temperature)
        both_C = ours_C if weight_C is None else weight_C if ours_C is None else ours_C * weight_C
        return Reading(self.temperature * temperature, both_C)


def refuse_bad_rows(prob_BC: NDArray[Any], human_B: NDArray[Any], first: int = 0) -> None:
    """ValueError names the first row (counted from `first`) that is no distribution or names no class."""
    total_B = prob_BC.sum(axis=1)  # not finite where one of them is not, as none is below 0
    bad_B = ~((prob_BC.min(axis=1) >= 0) & (total_B > 0) & np.isfinite(total_B))
    if bad_B.any():
        row = int(bad_B.argmax())
        raise ValueError(f"row {first + row}: {prob_BC[row].tolist()} is no distribution over classes")
    unknown_B = (human_B < -2) | (human_B >= prob_BC.shape[1])
    if unknown_B.any():
        row = int(unknown_B.argmax())
        known = f"known: 0 to {prob_BC.shape[1] - 1}"
        raise ValueError(f"row {first + row}: a person set class {int(human_B[row])}; {known}")


def tempered(prob_BC: NDArray[Any], temperature: float) -> NDArray[np.float32]:
    """p^(1/T) normalised: T < 1 sharpens (MixMatch, Berthelot et al. 2019, eq. 7), T > 1 softens.

    Relative to the largest of each row, so that a small T cannot make every class 0.
    """
    power_BC = (prob_BC.astype(np.float64) / prob_BC.max(axis=1, keepdims=True)) ** (1 / temperature)
    soft_BC: NDArray[np.float32] = (power_BC / power_BC.sum(axis=1, keepdims=True)).astype(np.float32)
    return soft_BC


def powered(
    prob_BC: NDArray[Any], temperature: float, weight_C: NDArray[np.float64] | None = None
) -> NDArray[np.float32]:
    """p^(1/T)·weight normalised, as exp(log p / T + log weight) in float32: what `tempered` and `reweighted` say, to

    about 1e-6, in a third of the time (float32 has vector instructions for exp and log, and for no power). What a row
    comes out as does not depend on the rows beside it.
    """
    with np.errstate(divide="ignore"):  # the logarithm of 0 is minus infinity, and its exponential 0 again
        log_BC: NDArray[np.float32] = np.log(prob_BC, dtype=np.float32)
        log_BC *= np.float32(1 / temperature)
        if weight_C is not None:
            log_BC += np.log(weight_C).astype(np.float32)
    best_B1 = log_BC.max(axis=1, keepdims=True)
    lost_B = ~np.isfinite(best_B1[:, 0])  # every class there was got the weight 0: the row stays as it was
    if lost_B.any():
        log_BC[lost_B], best_B1[lost_B] = 0, 0
    log_BC -= best_B1
    np.exp(log_BC, out=log_BC)
    log_BC /= log_BC.sum(axis=1, keepdims=True)
    if lost_B.any():
        log_BC[lost_B] = tempered(prob_BC[lost_B], temperature)
    return log_BC


def reweighted(prob_BC: NDArray[np.float32], ratio_C: NDArray[np.float64] | None) -> NDArray[np.float32]:
    """p·ratio normalised (ReMixMatch, Berthelot et al. 2020, section 3.1; Saerens et al. 2002, eq. 2.4).

    None changes nothing. A row whose classes all got the ratio 0 stays as it was: nothing is known about it.
    """
    if ratio_C is None:
        return prob_BC
    weighted_BC = prob_BC.astype(np.float64) * ratio_C
    total_B1 = weighted_BC.sum(axis=1, keepdims=True)
    lost_B1 = total_B1 <= 0
    aligned_BC = np.where(lost_B1, prob_BC, weighted_BC / np.where(lost_B1, 1.0, total_B1))
    return aligned_BC.astype(np.float32)


def exact_sum(prob_BC: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Sum over the images in units of 2^-32."""
    total_C: NDArray[np.int64] = np.rint(prob_BC.astype(np.float64) * UNIT).astype(np.int64).sum(axis=0)
    return total_C


def prior_ratio(
    align: Align | NDArray[np.float64], blocks: Blocks, labeled_C: NDArray[np.floating[Any]]
) -> NDArray[np.float64] | None:
    """What each class's probability is multiplied by; None for `none`.

    A prior (C,), `uniform` or `labeled` (the class shares of the labeled images, `labeled_C`): distribution alignment.
    `estimated`: the pool's own prior, found by EM. `blocks` yields the pool's probabilities after the temperature.
    """
    if isinstance(align, str):
        if align == "none":
            return None
        if align == "estimated":
            return estimated_ratio(blocks, labeled_C / labeled_C.sum())
        prior_C = np.ones(len(labeled_C)) if align == "uniform" else labeled_C
    else:
        prior_C = align
    return alignment_ratio(prior_C / prior_C.sum(), _mean(blocks, None))


def alignment_ratio(prior_C: NDArray[np.floating[Any]], mean_C: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distribution alignment (ReMixMatch, section 3.1): q̃ = Normalize(q · p(y) / p̃(y)).

    p̃ is the mean prediction. ReMixMatch takes it over the last 128 batches of a net that is learning; here it is the
    mean over the whole stored pool, once. Classes the teacher never believed in stay as they are.
    """
    ratio_C: NDArray[np.float64] = np.divide(prior_C, mean_C, out=np.zeros(len(mean_C)), where=mean_C > 0)
    return ratio_C


def estimated_ratio(blocks: Blocks, labeled_C: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """π̂ / π₀ by EM (Saerens, Latinne, Decaestecker 2002, eq. 2.9): π̂ is the prior under which the pool's posteriors,

    corrected from the labeled images' prior π₀ to it, have π̂ as their mean. One pass over the pool a step; it ends when
    no share moves by more than 1e-6, or after 200 steps. It assumes that only the class shares differ between labeled
    images and pool, and that the probabilities are calibrated (`temperature`).
    """
    prior_C = labeled_C.astype(np.float64)
    for _ in range(MOST_STEPS):
        moved_C = _mean(blocks, prior_C / labeled_C)
        step = float(np.abs(moved_C - prior_C).max())
        prior_C = moved_C
        if step <= STILL:
            break
    ratio_C: NDArray[np.float64] = prior_C / labeled_C
    return ratio_C


def _mean(blocks: Blocks, ratio_C: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """The mean probability of each class over the pool; its last bits are made up for, so that it sums to 1."""
    total_C = sum((exact_sum(reweighted(prob_BC, ratio_C)) for prob_BC in blocks()), start=np.int64(0))
    mean_C: NDArray[np.float64] = np.asarray(total_C / total_C.sum(), dtype=np.float64)
    return mean_C
