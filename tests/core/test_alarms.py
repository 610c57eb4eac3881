"""The alarms before a student learns: each speaks of what is planted and is silent where chance explains it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.alarms import by_chance, contradicted, effective_classes, starved


def test_a_class_that_gets_nothing_of_many_labels_starves() -> None:
    """Five of fifty labels and none of 900 pseudo-labels: stopped; of 36 that may be chance."""
    labeled_C = np.array([5] * 10)
    kept_C = np.array([100] * 9 + [0])
    assert starved(kept_C, labeled_C).tolist() == [False] * 9 + [True]
    assert not starved(np.array([4] * 9 + [0]), labeled_C).any()
    assert not starved(kept_C, np.array([5] * 9 + [0])).any()


def test_few_labels_of_many_classes_are_no_alarm() -> None:
    """A hundred classes with two labels each and 300 pseudo-labels: empty classes are to be expected."""
    random = np.random.default_rng(0)
    alarms = [
        starved(np.bincount(random.integers(0, 100, 300), minlength=100), np.full(100, 2)).any() for _ in range(50)
    ]
    assert not any(alarms)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_effective_classes_lie_between_one_and_all(counts: list[int]) -> None:
    """And are reached by one class alone and by equal shares."""
    found = effective_classes(np.array(counts))
    used = sum(n > 0 for n in counts)
    assert (used > 0) * (1 - 1e-9) <= found <= used + 1e-9
    assert effective_classes(np.array([7] * len(counts))) == pytest.approx(len(counts))


def test_shuffled_answers_are_called_chance_and_real_ones_are_not() -> None:
    """Of 200 shuffles some 95 % are not better than chance; answers of which half are right always are."""
    random = np.random.default_rng(1)
    given_N = np.arange(50) % 10
    p_values = [by_chance(random.permutation(given_N), given_N, 10)[1] for _ in range(200)]
    assert np.mean(np.array(p_values) > 0.05) >= 0.9
    half_N = np.where(np.arange(50) < 25, given_N, (given_N + 1) % 10)
    level, p_value = by_chance(half_N, given_N, 10)
    assert level == pytest.approx(0.1)
    slow = sum(math.comb(50, k) * 0.1**k * 0.9 ** (50 - k) for k in range(25, 51))
    assert p_value == pytest.approx(slow, rel=1e-6)


def test_the_confident_joint_names_the_flipped_labels() -> None:
    """Sure predictions contradict the labels that were flipped, and no others; unsure ones contradict none."""
    truth_N = np.arange(60) % 3
    given_N = truth_N.copy()
    given_N[:9] = (given_N[:9] + 1) % 3
    prob_NC = np.full((60, 3), 0.05)
    prob_NC[np.arange(60), truth_N] = 0.9
    assert contradicted(prob_NC, given_N).tolist() == [True] * 9 + [False] * 51
    unsure_NC = np.full((60, 3), 0.3)
    unsure_NC[np.arange(60), given_N] = 0.4
    assert not contradicted(unsure_NC, given_N).any()
