"""How sure a net is against how often it is right. Letters: N labeled images it did not learn from, C classes.

Calibrated probabilities are q ∝ p^(1/T)·exp(b): one temperature T (Guo et al. 2017, section 4.2) and, in the per-class
variant, a bias b for each class (bias-corrected temperature scaling, Alexandari et al. 2020, section 3). Both are
fitted by maximum likelihood with a weak prior around "nothing to correct", so that few labels move little, no case is
unbounded (a net that is right on every image would ask for T = 0), and the likelihood of the images that were fitted on
never falls.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import Floats, Ints, expected_calibration_error, negative_log_likelihood, reliability

FLATTEST = 20.0  # the largest temperature, and one over the smallest
TEMPERATURE_SD = 1.0  # of log T before anything is seen
BIAS_SD = 0.5  # of a class's bias before anything is seen
FOLDS = 5  # of the images, to measure a fit on others than it was fitted on
RESAMPLES, BINS = 1000, 15


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a net's probabilities are corrected by."""

    temperature: float
    bias_C: NDArray[np.float64]  # 0 of a class without labels, and of every class where only the temperature is wanted

    @classmethod
    def none(cls, classes: int) -> "Calibration":
        """Nothing is corrected."""
        return cls(1.0, np.zeros(classes))

    def apply(self, prob_NC: Floats) -> NDArray[np.float64]:
        """The corrected probabilities (N, C)."""
        return np.exp(_log_softmax(_log(prob_NC) / self.temperature + self.bias_C))


def fit(prob_NC: Floats, truth_N: Ints) -> dict[str, Calibration]:
    """The variants `none`, `temperature` and `per_class`; without images all three correct nothing."""
    classes = prob_NC.shape[1]
    temperature = fit_temperature(prob_NC, truth_N)
    return {
        "none": Calibration.none(classes),
        "temperature": Calibration(temperature, np.zeros(classes)),
        "per_class": Calibration(temperature, fit_bias(prob_NC, truth_N, temperature)),
    }


def fit_temperature(prob_NC: Floats, truth_N: Ints) -> float:
    """The T that minimises N·NLL + (log T)²/(2·TEMPERATURE_SD²), between 1/FLATTEST and FLATTEST."""
    from scipy.optimize import minimize_scalar  # half a second that stages which only apply it do without

    log_NC, row_N = _log(prob_NC), np.arange(len(truth_N))

    def loss(log_T: float) -> float:
        fitted_N = _log_softmax(log_NC / np.exp(log_T))[row_N, truth_N]
        return float(-fitted_N.sum() + 0.5 * (log_T / TEMPERATURE_SD) ** 2)

    edge = np.log(FLATTEST)
    found = minimize_scalar(loss, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def fit_bias(prob_NC: Floats, truth_N: Ints, temperature: float) -> NDArray[np.float64]:
    """The b (C,) that minimises N·NLL + Σ b²/(2·BIAS_SD²) at a given temperature: strictly convex, one answer.

    A class without labels keeps 0. With one class in all the labels nothing can be told apart: all are 0.
    """
    from scipy.optimize import minimize

    classes = prob_NC.shape[1]
    count_C = np.bincount(truth_N, minlength=classes)
    free_C = count_C > 0
    if free_C.sum() < 2:
        return np.zeros(classes)
    logit_NC, row_N = _log(prob_NC) / temperature, np.arange(len(truth_N))

    def loss(free_F: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        bias_C = np.zeros(classes)
        bias_C[free_C] = free_F
        log_NC = _log_softmax(logit_NC + bias_C)
        slope_C = np.exp(log_NC).sum(axis=0) - count_C + bias_C / BIAS_SD**2
        return float(-log_NC[row_N, truth_N].sum() + 0.5 * (bias_C**2).sum() / BIAS_SD**2), slope_C[free_C]

    start_F = np.zeros(int(free_C.sum()))
    found = minimize(loss, start_F, jac=True, method="L-BFGS-B", options={"gtol": 1e-8, "ftol": 1e-12})
    bias_C = np.zeros(classes)
    if found.fun < loss(start_F)[0]:
        bias_C[free_C] = found.x
    return bias_C


def measure(prob_NC: Floats, truth_N: Ints, seed: int) -> dict[str, dict[str, Any]]:
    """Of each variant ECE with its 95 % interval, NLL, and the reliability table; empty without images.

    `none` is as the net said it. The others are measured out of sample: the images fall into five parts, and each is
    corrected by what was fitted on the other four.
    """
    if not len(truth_N):
        return {}
    said = {name: np.empty(prob_NC.shape) for name in fit(prob_NC[:0], truth_N[:0])}
    part_N = np.arange(len(truth_N)) % FOLDS
    for part in range(FOLDS):
        in_N = part_N == part
        for name, calibration in fit(prob_NC[~in_N], truth_N[~in_N]).items():
            said[name][in_N] = calibration.apply(prob_NC[in_N])
    return {name: _measured(corrected_NC, truth_N, seed) for name, corrected_NC in said.items()}


def _measured(prob_NC: Floats, truth_N: Ints, seed: int) -> dict[str, Any]:
    low, high = ece_interval(prob_NC, truth_N, seed)
    ece = expected_calibration_error(prob_NC, truth_N, BINS)
    nll = negative_log_likelihood(prob_NC, truth_N)
    return {"ece": ece, "low": low, "high": high, "nll": nll, "reliability": reliability(prob_NC, truth_N, BINS)}


def ece_interval(prob_NC: Floats, truth_N: Ints, seed: int) -> tuple[float, float]:
    """95 % interval of the ECE with 15 equal-mass bins.

    Binned noise makes the ECE of n images too large, and that of a resample too large once more: percentiles of the
    resamples lie too high by twice as much; their mirror image 2·ECE - percentile (the basic interval, Davison and
    Hinkley 1997, section 5.2) makes up for it, though too little where bins hold a few images. So a third opinion is
    asked, which does not look at bins to see how wrong the net is (`smooth_errors`). The hull of the three is taken.
    Near 0 no bootstrap covers, because the error cannot be negative: the interval begins at 0 unless the ECE is above
    97.5 % of those of a perfectly calibrated net with the same confidences (consistency resampling, Bröcker and Smith
    2007). docs/trust.md says how often it holds the true error.
    """
    rng = np.random.default_rng(seed)
    sure_N = np.sort(prob_NC.max(axis=1).astype(np.float64))
    order_N = np.argsort(prob_NC.max(axis=1), kind="stable")
    hit_N = (prob_NC.argmax(axis=1) == truth_N)[order_N]
    gap_N, count = sure_N - hit_N, len(hit_N)
    start_K = np.cumsum([0, *(len(part) for part in np.array_split(np.arange(count), min(BINS, count)))])[:-1]
    drawn_R, perfect_R = np.empty(RESAMPLES), np.empty(RESAMPLES)
    for rows in _blocks(count):  # images are in the order of confidence, so sorting their numbers sorts a resample
        shape = (len(drawn_R[rows]), count)
        drawn_R[rows] = _binned(gap_N[np.sort(rng.integers(0, count, shape), axis=1)], start_K)
        perfect_R[rows] = _binned(sure_N - (rng.random(shape) < sure_N), start_K)
    ece = float(_binned(gap_N, start_K))
    low, high = np.quantile(drawn_R, [0.025, 0.975])
    least, most = np.quantile(smooth_errors(sure_N, hit_N, start_K, rng), [0.025, 0.975])
    could_be_0 = ece <= np.quantile(perfect_R, 0.975)
    return 0.0 if could_be_0 else max(min(low, 2 * ece - high, least), 0.0), min(max(high, 2 * ece - low, most), 1.0)


def smooth_errors(
    sure_N: NDArray[np.float64], hit_N: NDArray[np.bool_], start_K: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draws (RESAMPLES,) of the ECE, if the true accuracy at confidence q is a logistic curve in log(q / (1 - q)).

    Platt's recalibration (1999) with normal priors around no correction (offset 0 ± 1, slope 1 ± 0.5); the two numbers
    are drawn from Laplace's approximation of their posterior.
    """
    odds_N = np.log(np.clip(sure_N, 1e-6, 1 - 1e-6) / np.clip(1 - sure_N, 1e-6, 1))
    column_N2, prior_2, mean_2 = np.stack([np.ones_like(odds_N), odds_N], axis=1), np.array([1.0, 4.0]), [0.0, 1.0]
    found_2 = np.array(mean_2)

    def loss(at_2: NDArray[np.float64]) -> float:
        logit_N = column_N2 @ at_2
        return float(np.logaddexp(0, logit_N).sum() - logit_N[hit_N].sum() + prior_2 @ (at_2 - mean_2) ** 2 / 2)

    for _ in range(50):  # Newton's method; strictly convex, so halving the step always ends
        prob_N = _logistic(column_N2 @ found_2)
        slope_2 = column_N2.T @ (prob_N - hit_N) + prior_2 * (found_2 - mean_2)
        curve_22 = (column_N2.T * (prob_N * (1 - prob_N))) @ column_N2 + np.diag(prior_2)
        step_2, size = np.linalg.solve(curve_22, slope_2), 1.0
        while size > 1e-6 and loss(found_2 - size * step_2) > loss(found_2):
            size /= 2
        found_2 = found_2 - size * step_2
        if np.abs(size * step_2).max() < 1e-8:
            break
    drawn_R2 = rng.multivariate_normal(found_2, np.linalg.inv(curve_22), RESAMPLES)
    blocks = [_binned(sure_N - _logistic(drawn_R2[rows] @ column_N2.T), start_K) for rows in _blocks(len(sure_N))]
    return np.concatenate(blocks)


def _blocks(count: int) -> list[slice]:
    """Consecutive resamples of `count` images, a million numbers at a time."""
    size = max(1_000_000 // count, 1)
    return [slice(first, first + size) for first in range(0, RESAMPLES, size)]


def _logistic(logit_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)) without overflow, and without scipy."""
    half_N: NDArray[np.float64] = 0.5 * (1 + np.tanh(logit_N / 2))
    return half_N


def _binned(gap_RN: NDArray[np.float64], start_K: NDArray[np.int64]) -> NDArray[np.float64]:
    """ECE (R,) from confidence - hit of each image, in the order of confidence, and the first image of each bin."""
    error_R: NDArray[np.float64] = np.abs(np.add.reduceat(gap_RN, start_K, axis=-1)).sum(axis=-1) / gap_RN.shape[-1]
    return error_R


def _log(prob_NC: Floats) -> NDArray[np.float64]:
    return np.log(np.maximum(prob_NC.astype(np.float64), np.finfo(np.float32).tiny))


def _log_softmax(logit_NC: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted_NC = logit_NC - logit_NC.max(axis=1, keepdims=True)
    log_NC: NDArray[np.float64] = shifted_NC - np.log(np.exp(shifted_NC).sum(axis=1, keepdims=True))
    return log_NC
