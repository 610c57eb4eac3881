"""The statistics of drift: against scipy, and the promises of their docstrings."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ks_2samp

from tasks.core import drift

VALUES = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=30)
SEEDS = st.integers(0, 2**31 - 1)


def _outputs(n: int, seed: int, sure: float = 3.0, share: Any = None, classes: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    logit_NC = rng.normal(0, 1, (n, classes))
    logit_NC[np.arange(n), rng.choice(classes, n, p=share)] += sure
    prob_NC = np.exp(logit_NC)
    return np.asarray(prob_NC / prob_NC.sum(axis=1, keepdims=True))


@given(VALUES, VALUES)
@settings(max_examples=60, deadline=None)
def test_gap_is_the_ks_statistic_also_with_ties(reference: list[float], batch: list[float]) -> None:
    """Equal weights: both one-sided statistics and their maximum are scipy's."""
    found = drift.gap(np.array(reference), np.array(batch), np.full(len(reference), 1 / len(reference)))
    for side, value in zip(("less", "greater"), found, strict=True):
        assert value == pytest.approx(max(ks_2samp(reference, batch, alternative=side).statistic, 0), abs=1e-12)


@given(VALUES, VALUES, SEEDS)
@settings(max_examples=60, deadline=None)
def test_weights_are_repetitions(reference: list[float], batch: list[float], seed: int) -> None:
    """An image of weight 3 is three images."""
    times = np.random.default_rng(seed).integers(1, 5, len(reference))
    repeated = np.repeat(reference, times)
    found = drift.gap(np.array(reference), np.array(batch), times / times.sum())
    assert found == pytest.approx(drift.gap(repeated, np.array(batch), np.full(len(repeated), 1 / len(repeated))))


@given(SEEDS, st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_the_distance_is_at_most_the_foreign_share(seed: int, foreign: int) -> None:
    """A batch of the reference's own images and any others: no output lies farther, and confidence no farther but for
    what a class borrows from the others."""
    reference = _outputs(100, seed)
    batch = np.concatenate([reference, _outputs(foreign, seed + 1, sure=0.3)])
    found, share = drift.shift(reference, batch), foreign / len(batch)
    smallest = np.bincount(reference.argmax(axis=1)).min()
    assert found.outputs <= share + 1e-9
    assert found.unsure <= share + drift.POOLED / (drift.POOLED + smallest)


@given(SEEDS, st.lists(st.integers(1, 20), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_another_mix_of_the_same_images_is_no_shift(seed: int, times: list[int]) -> None:
    """Every image of a class shown n times: the outputs lie nowhere apart, whatever the n of the classes."""
    reference = _outputs(80, seed)
    batch = np.repeat(reference, np.array(times)[reference.argmax(axis=1)], axis=0)
    assert drift.shift(reference, batch).outputs == pytest.approx(0, abs=1e-9)


def test_classes_the_reference_has_not_are_left_out_of_the_outputs_and_borrow_confidence() -> None:
    """A batch all in a class without reference: no claim about outputs; its confidence is held against all images."""
    reference = _outputs(100, 1, share=[0.5, 0.5, 0, 0], sure=6)
    same, unsure = (_outputs(100, 2, share=[0, 0, 0.5, 0.5], sure=sure) for sure in (6, 1.5))
    assert (drift.shift(reference, same).outputs_p, drift.shift(reference, same).unsure_p > 0.05) == (1.0, True)
    assert drift.shift(reference, unsure).unsure_p < 1e-6


def test_alarms_need_chance_and_limit_and_allow_for_bias() -> None:
    """Far but few, many but near: none. A biased reference: what is more sure than it is none, what is less sure is."""
    reference = _outputs(2000, 1)
    few, near = _outputs(3, 2, sure=1.0), _outputs(20_000, 3, sure=2.85)
    assert drift.shift(reference, few).foreign(0.1, 0.01, 1, exact=True) is None
    assert drift.shift(reference, near).unsure_p < 1e-3
    assert drift.shift(reference, near).foreign(0.1, 0.01, 1, exact=True) is None
    surer, less = drift.shift(reference, _outputs(500, 4, sure=3.6)), drift.shift(reference, _outputs(500, 5, sure=1.8))
    assert (surer.foreign(0.1, 0.01, 1, exact=True), surer.foreign(0.1, 0.01, 1, exact=False)) != (None, None)
    assert surer.foreign(0.1, 0.01, 1, exact=False) is None
    assert less.foreign(0.1, 0.01, 1, exact=False) is not None


def test_clean_batches_alarm_no_more_often_than_promised() -> None:
    """200 draws of a clean batch at the level of 0.05 and no limit: at most 5 % and what chance adds."""
    found = [
        drift.shift(_outputs(60, s), _outputs(300, 10_000 + s)).foreign(0.0, 0.05, 1, exact=True) for s in range(200)
    ]
    alarms = sum(share is not None for share in found)
    assert binomtest(alarms, 200, 0.05, alternative="greater").pvalue > 0.01


def test_flips_add_up() -> None:
    """Who left one class joined another; images without a label now left theirs and joined none."""
    rng = np.random.default_rng(0)
    before_N, now_N = rng.integers(0, 3, 500), rng.integers(-1, 3, 500)
    found = drift.flips(before_N, now_N, rng.random(500) < 0.5, 3)
    assert found.flips == found.left_C.sum() == found.joined_C.sum() + (now_N == -1).sum()
    assert found.before_C.sum() == found.images == 500
    assert 0 < found.confident_flips < min(found.flips, found.confident)


def test_bounds_are_those_of_the_books() -> None:
    """Clopper-Pearson as scipy has it; 59 of 59 show 95 %; three standard deviations once there are many runs."""
    assert drift.at_least(59, 59) == pytest.approx(0.9505, abs=1e-4)
    expected = binomtest(7, 40, alternative="greater").proportion_ci(0.95, "exact").low
    assert drift.at_least(7, 40) == pytest.approx(expected)
    assert drift.at_least(0, 10) == 0
    past = list(np.random.default_rng(0).normal(0.1, 0.02, 3000))
    mean, width = drift.usual(past)
    assert (mean, width) == (pytest.approx(0.1, abs=2e-3), pytest.approx(0.06, abs=3e-3))
    assert drift.usual(past[:5])[1] > 3 * np.std(past[:5])
