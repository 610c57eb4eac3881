"""Calibration: what is fitted is there, nothing gets worse, and edges say nothing wild."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks.core import calibration
from tasks.core.belief import Reading
from tasks.core.calibration import Calibration, ece_interval, fit, fit_bias, fit_temperature, measure
from tasks.core.metrics import expected_calibration_error, negative_log_likelihood

Sample = tuple[NDArray[np.float64], NDArray[np.int64]]


def _drawn(n: int, seed: int, temperature: float, bias_C: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Sample:
    """What a net says and what is true, where the truth follows softmax(logits / temperature + bias)."""
    rng = np.random.default_rng(seed)
    logit_NC = rng.normal(0, 3, (n, len(bias_C)))
    true_NC = np.exp(logit_NC / temperature + np.array(bias_C))
    true_NC /= true_NC.sum(axis=1, keepdims=True)
    truth_N = (rng.random((n, 1)) > true_NC.cumsum(axis=1)).sum(axis=1).clip(max=len(bias_C) - 1)
    said_NC = np.exp(logit_NC)
    return said_NC / said_NC.sum(axis=1, keepdims=True), truth_N


@settings(max_examples=15, deadline=None)
@given(temperature=st.floats(0.3, 4), seed=st.integers(0, 1000))
def test_a_known_temperature_is_found(temperature: float, seed: int) -> None:
    """Of 4,000 images, within 12 %: four standard errors."""
    assert fit_temperature(*_drawn(4000, seed, temperature)) == pytest.approx(temperature, rel=0.12)


def test_known_biases_are_found() -> None:
    """Up to a constant, which changes no probability."""
    prob_NC, truth_N = _drawn(20_000, 0, 1.5, (0.8, 0.0, -0.8))
    bias_C = fit_bias(prob_NC, truth_N, 1.5)
    np.testing.assert_allclose(bias_C - bias_C[1], [0.8, 0, -0.8], atol=0.1)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 60),
    classes=st.integers(2, 6),
    seed=st.integers(0, 10_000),
    sharp=st.sampled_from([0.05, 1.0, 30.0]),
    known=st.integers(1, 6),
)
def test_the_likelihood_of_what_was_fitted_never_falls(
    n: int, classes: int, seed: int, sharp: float, known: int
) -> None:
    """From nothing to a temperature to biases, for any net and any labels, zeros and missing classes included; a class

    without labels keeps the shared temperature alone.
    """
    rng = np.random.default_rng(seed)
    prob_NC = rng.dirichlet([1 / sharp] * classes, n).astype(np.float32)
    truth_N = rng.integers(0, min(known, classes), n)
    found = fit(prob_NC, truth_N)
    loss = [negative_log_likelihood(found[v].apply(prob_NC), truth_N) for v in ("none", "temperature", "per_class")]
    assert loss[0] >= loss[1] - 1e-9
    assert loss[1] >= loss[2] - 1e-9
    bias_C = found["per_class"].bias_C
    assert np.isfinite(bias_C).all()
    assert not bias_C[np.bincount(truth_N, minlength=classes) == 0].any()
    assert 1 / calibration.FLATTEST <= found["temperature"].temperature <= calibration.FLATTEST


def test_a_net_that_is_always_right_is_not_believed_without_end() -> None:
    """50 of 50 right at 0.9 each: surer than said, but no certainty; none and one class correct no class."""
    prob_NC = np.full((50, 3), 0.05)
    truth_N = np.arange(50) % 3
    prob_NC[np.arange(50), truth_N] = 0.9
    found = fit(prob_NC, truth_N)["temperature"]
    assert 0.2 < found.temperature < 0.9
    assert found.apply(prob_NC).max() < 0.9999
    assert not fit_bias(prob_NC, np.zeros(50, int), 1.0).any()
    assert fit(prob_NC[:0], truth_N[:0])["per_class"].temperature == 1.0
    assert measure(prob_NC[:0], truth_N[:0], 0) == {}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), temperature=st.floats(0.3, 5), softened=st.floats(0.5, 2))
def test_one_reading_is_all_steps_one_after_the_other(seed: int, temperature: float, softened: float) -> None:
    """Calibration, the user's temperature and a prior as one power and one product are the three steps."""
    rng = np.random.default_rng(seed)
    prob_NC = rng.dirichlet([0.5] * 4, 20).astype(np.float32)
    bias_C, ratio_C = rng.normal(0, 0.5, 4), rng.uniform(0.5, 2, 4)
    reading = Reading(temperature, np.exp(bias_C)).then(softened).then(1.0, ratio_C)
    step_NC = Calibration(temperature, bias_C).apply(prob_NC) ** (1 / softened) * ratio_C
    np.testing.assert_allclose(reading.soft(prob_NC), step_NC / step_NC.sum(axis=1, keepdims=True), atol=2e-6)


def test_calibration_is_measured_on_images_it_was_not_fitted_on() -> None:
    """Labels that are noise: fitted on themselves the biases seem to help, measured they do not."""
    rng = np.random.default_rng(1)
    prob_NC, truth_N = rng.dirichlet([5.0] * 8, 40), rng.integers(0, 8, 40)
    fitted = negative_log_likelihood(fit(prob_NC, truth_N)["per_class"].apply(prob_NC), truth_N)
    assert measure(prob_NC, truth_N, 0)["per_class"]["nll"] > fitted + 0.02


def test_the_bootstrap_interval_holds_the_error_and_shrinks() -> None:
    """Same seed, same interval; four times the images, about half the width; an overconfident net is found out."""
    prob_NC, truth_N = _drawn(2000, 3, 2.0)
    low, high = ece_interval(prob_NC, truth_N, 7)
    assert (low, high) == ece_interval(prob_NC, truth_N, 7)
    assert 0.05 < low < expected_calibration_error(prob_NC, truth_N) < high < 0.3
    few = ece_interval(prob_NC[:500], truth_N[:500], 7)
    assert 1.4 < (few[1] - few[0]) / (high - low) < 2.9


@pytest.mark.parametrize("temperature", [1.5, 3.0])
def test_the_interval_holds_the_error_where_bins_hold_three_images(temperature: float) -> None:
    """Of 50 images each, 60 times; the true error from 300,000. At most 4 miss it (the bootstrap alone: 1 in 6)."""
    everything = expected_calibration_error(*_drawn(300_000, 9, temperature))
    ends = [ece_interval(*_drawn(50, 100 + seed, temperature), seed) for seed in range(60)]
    assert sum(not low <= everything <= high for low, high in ends) <= 4
    assert np.mean([high - low for low, high in ends]) < 0.4


def test_a_logistic_net_is_told_its_error_without_bins() -> None:
    """20,000 images of a net too sure by a temperature: the draws lie within 0.01 of the true error; two images are

    enough to say something, and nets that are always right or always wrong do not break it.
    """
    prob_NC, truth_N = _drawn(20_000, 4, 2.0, (0.0, 0.0))
    sure_N, order_N = np.sort(prob_NC.max(axis=1)), np.argsort(prob_NC.max(axis=1), kind="stable")
    hit_N, start_K = (prob_NC.argmax(axis=1) == truth_N)[order_N], np.arange(0, 20_000, 1333)[:15]
    rng = np.random.default_rng(0)
    drawn_R = calibration.smooth_errors(sure_N, hit_N, start_K, rng)
    assert abs(drawn_R.mean() - expected_calibration_error(*_drawn(300_000, 5, 2.0, (0.0, 0.0)))) < 0.01
    for hit in (True, False):
        few_R = calibration.smooth_errors(np.array([0.9, 1.0]), np.array([hit, hit]), np.array([0, 1]), rng)
        assert np.isfinite(few_R).all()
        assert ((few_R >= 0) & (few_R <= 1)).all()
