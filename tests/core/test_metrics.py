"""Metrics against scikit-learn, torch or a plain sum, and at their edges."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tasks.core import metrics

RNG = np.random.default_rng(0)
PROB_NC: NDArray[np.float64] = RNG.dirichlet([0.4] * 4, 200)
TRUTH_N: NDArray[np.int64] = RNG.integers(0, 3, 200)  # class 3 never occurs


def test_counts_agree_with_scikit_learn() -> None:
    """Confusion, accuracy, precision and recall are scikit-learn's; a class without images is nan, not 0."""
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_score, recall_score

    guess_N = PROB_NC.argmax(axis=1)
    counts_CC = metrics.confusion(PROB_NC, TRUTH_N)
    assert np.array_equal(counts_CC, confusion_matrix(TRUTH_N, guess_N, labels=range(4)))
    assert metrics.accuracy(PROB_NC, TRUTH_N) == accuracy_score(TRUTH_N, guess_N)
    precision_C, recall_C = metrics.precision_recall(counts_CC)
    np.testing.assert_allclose(precision_C, precision_score(TRUTH_N, guess_N, average=None, labels=range(4)))
    np.testing.assert_allclose(recall_C[:3], recall_score(TRUTH_N, guess_N, average=None, labels=range(3)))
    assert math.isnan(recall_C[3])


def test_wilson_agrees_with_scipy_and_never_leaves_0_to_1() -> None:
    """scipy's interval, also for 0 and n successes; no trials say nothing."""
    from scipy.stats import binomtest

    for successes, n in ((0, 10), (3, 10), (10, 10), (391, 400)):
        expected = binomtest(successes, n).proportion_ci(method="wilson")
        assert metrics.wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert metrics.wilson(0, 0) == (0.0, 1.0)


def test_likelihood_and_entropy_agree_with_torch() -> None:
    """Both in nats; certainty has entropy 0, and a class given 0 costs a finite amount."""
    prob = torch.from_numpy(PROB_NC)
    expected = torch.nn.functional.nll_loss(prob.log(), torch.from_numpy(TRUTH_N)).item()
    assert metrics.negative_log_likelihood(PROB_NC, TRUTH_N) == pytest.approx(expected)
    np.testing.assert_allclose(metrics.entropy(PROB_NC), torch.special.entr(prob).sum(dim=1).numpy(), rtol=1e-5)
    assert metrics.entropy(np.eye(3)).tolist() == [0, 0, 0]
    assert 80 < metrics.negative_log_likelihood(np.eye(2), np.array([1, 0])) < 90


def test_calibration_error_is_the_plain_sum_over_equal_bins() -> None:
    """15 bins that hold equally many images, each |mean confidence - accuracy| weighted by its size."""
    rows = sorted(zip(PROB_NC.max(axis=1), PROB_NC.argmax(axis=1) == TRUTH_N, strict=True), key=lambda row: row[0])
    bins = [rows[14 * i : 14 * i + 14] for i in range(5)] + [rows[70 + 13 * i : 83 + 13 * i] for i in range(10)]
    assert sum(map(len, bins)) == 200
    expected = sum(abs(sum(c for c, _ in b) - sum(h for _, h in b)) for b in bins) / 200
    assert metrics.expected_calibration_error(PROB_NC, TRUTH_N) == pytest.approx(expected)


def test_calibrated_guesses_have_a_small_error() -> None:
    """Truth drawn from the probabilities themselves: the error is what chance leaves."""
    prob_NC = RNG.dirichlet([0.7] * 3, 30_000)
    truth_N = (prob_NC.cumsum(axis=1) < RNG.random((30_000, 1))).sum(axis=1)
    assert metrics.expected_calibration_error(prob_NC, truth_N) < 0.02


def test_no_images_give_nan() -> None:
    """Nothing measured is not a zero."""
    nothing = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)
    assert math.isnan(metrics.accuracy(*nothing))
    assert math.isnan(metrics.expected_calibration_error(*nothing))
    assert math.isnan(metrics.negative_log_likelihood(*nothing))
