"""The sample of an audit, and intervals that keep what they promise."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from tasks.core import audit
from tasks.core.compare import holm

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other work may hold the cores
SIZES = st.lists(st.integers(1, 400), min_size=1, max_size=12)
NOBODY = np.zeros(2, int)


@BUSY
@given(SIZES, st.integers(1, 600))
def test_draws_add_up_and_no_class_is_forgotten(sizes: list[int], n: int) -> None:
    """Exactly n draws (or all labels), never more than a class has, its least where n allows, else near its share."""
    size_H = np.array(sizes)
    draws_H = audit.allocate(size_H, n)
    total = min(n, size_H.sum())
    assert draws_H.sum() == total
    assert (draws_H <= size_H).all()
    if n >= audit.PER_CLASS * len(sizes):
        assert (draws_H >= np.minimum(size_H, audit.LEAST)).all()
    else:
        assert (draws_H >= 0).all()


def test_large_classes_are_drawn_in_proportion() -> None:
    """No class is rare: shares of the draws are shares of the labels, to the nearest whole number."""
    assert audit.allocate(np.array([500, 300, 200]), 100).tolist() == [50, 30, 20]
    assert audit.allocate(np.array([9000, 990, 10]), 120).tolist() == [99, 11, 10]


def test_every_label_of_a_class_is_as_likely_as_any_other() -> None:
    """7 draws from 17 labels: each is drawn 7/17 times on average, though zones cut labels in two."""
    rng = np.random.default_rng(0)
    label_N, confidence_N = np.zeros(17, int), rng.random(17)
    seen_N = np.zeros(17)
    for _ in range(6000):
        np.add.at(seen_N, audit.draw(label_N, confidence_N, 7, rng), 1)
    # 4.5 standard errors of the worst of 17
    assert seen_N / 6000 == pytest.approx(np.full(17, 7 / 17), abs=4.5 * np.sqrt(7 / 17 * 10 / 17 / 6000))


def test_a_sample_is_spread_over_classes_and_confidence() -> None:
    """Each tenth of a class by confidence gives a tenth of its draws; the same generator gives the same sample."""
    rng = np.random.default_rng(1)
    label_N, confidence_N = rng.permutation(np.repeat([0, 1], [3000, 1000])), rng.random(4000)
    first, again = (audit.draw(label_N, confidence_N, 80, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.bincount(label_N[first]).tolist() == [60, 20]
    for label, count in ((0, 60), (1, 20)):
        ours = label_N == label
        edges = np.quantile(confidence_N[ours], np.linspace(0, 1, 11))
        drawn = confidence_N[first][label_N[first] == label]
        assert np.histogram(drawn, edges)[0].tolist() == pytest.approx([count / 10] * 10, abs=1)


def test_a_census_asks_for_each_label_once() -> None:
    """As many draws as labels, or more."""
    label_N, confidence_N = np.array([0, 1, 1, 0, 1]), np.linspace(0, 1, 5)
    for n in (5, 50):
        assert sorted(audit.draw(label_N, confidence_N, n, np.random.default_rng(0))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("k", "n"), [(0, 30), (30, 30), (190, 200), (1, 7)])
def test_clopper_pearson_agrees_with_scipy(k: int, n: int) -> None:
    """scipy's exact interval, and its one-sided bound."""
    expected = binomtest(k, n).proportion_ci(method="exact")
    assert audit.clopper_pearson(k, n) == pytest.approx((expected.low, expected.high))
    one_sided = binomtest(k, n, alternative="greater").proportion_ci(method="exact")
    assert audit.of_class(k, n - k, 0).at_least == pytest.approx(one_sided.low)


@pytest.mark.parametrize("n", [30, 50, 100, 200, 500])
@pytest.mark.parametrize("p", [0.8, 0.9, 0.95, 0.98, 0.99, 0.995])
def test_the_bound_of_a_class_covers_in_every_setting(p: float, n: int) -> None:
    """Enumerated, not simulated: the one-sided bound lies below the truth in 95 % of the audits or more."""
    weight = binom.pmf(np.arange(n + 1), n, p)
    below = np.array([audit.of_class(k, n - k, 0).at_least <= p for k in range(n + 1)])
    assert weight[below].sum() >= 0.95


@pytest.mark.parametrize("draws", [(20, 20), (40, 5), (30, 10)])
@pytest.mark.parametrize("sizes", [(900, 100), (500, 500), (980, 20)])
def test_the_weighted_interval_covers_in_every_setting(sizes: tuple[int, int], draws: tuple[int, int]) -> None:
    """Enumerated over two classes with weights up to 98 times apart, each with errors from none to half."""
    size_H, n_H = np.array(sizes), np.array(draws)
    counts = [np.array([a, b]) for a in range(draws[0] + 1) for b in range(draws[1] + 1)]
    found = [audit.overall(size_H, n_H - wrong, wrong, NOBODY) for wrong in counts]
    low, high, one = (np.array([getattr(share, name) for share in found]) for name in ("low", "high", "at_least"))
    for q, other in np.ndindex(6, 6):
        q_H = np.array([0.0, 0.002, 0.01, 0.05, 0.2, 0.5])[[q, other]]
        weight = np.outer(*(binom.pmf(np.arange(m + 1), m, at) for m, at in zip(draws, q_H, strict=True))).ravel()
        truth = 1 - size_H @ q_H / size_H.sum()
        assert weight[(low <= truth + 1e-12) & (truth <= high + 1e-12)].sum() >= 0.95, q_H
        assert weight[one <= truth + 1e-12].sum() >= 0.95, q_H


def test_equal_weights_give_the_plain_exact_interval() -> None:
    """Four classes alike: Clopper and Pearson's interval of the pooled counts."""
    size_H, wrong_H = np.full(4, 250), np.array([0, 2, 1, 0])
    found = audit.overall(size_H, 25 - wrong_H, wrong_H, np.zeros(4, int))
    assert (found.low, found.high) == pytest.approx(audit.clopper_pearson(97, 100))
    assert found.share == pytest.approx(0.97)


@BUSY
@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_no_answer_never_helps_a_label(right: int, wrong: int, unknown: int) -> None:
    """The interval with open draws holds every interval they could still turn into."""
    open_ = audit.of_class(right, wrong, unknown)
    for more in range(unknown + 1):
        closed = audit.of_class(right + more, wrong + unknown - more, 0)
        assert open_.low <= closed.low
        assert closed.high <= open_.high
        assert open_.at_least <= closed.at_least


def test_a_stratum_nobody_looked_at_could_be_anything() -> None:
    """A tenth of the labels without a draw: the interval reaches a tenth lower, and as high as before."""
    size_H = np.array([900, 100])
    seen = audit.overall(size_H[:1], np.array([50]), np.array([0]), np.array([0]))
    found = audit.overall(size_H, np.array([50, 0]), NOBODY, NOBODY)
    assert found.low == pytest.approx(0.9 * seen.low)
    assert found.high == 1.0


def test_holm_and_what_it_takes() -> None:
    """Holm's steps by hand; the draws said to be needed are enough, and one less is not."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    n = audit.needed(0.9, 10)
    assert holm([audit.p_at_least(n, n, 0.9)] * 10)[0] <= 0.05
    assert holm([audit.p_at_least(n - 1, n - 1, 0.9)] * 10)[0] > 0.05
    assert audit.needed(0.9, 1) == 29  # RELIABILITY 5.4
