"""Paired comparison of two nets, exact bounds and reliability bins."""

import math

import numpy as np
import pytest

from tasks.core.compare import compare, exact_low, mcnemar, paired_interval
from tasks.core.metrics import expected_calibration_error, reliability


def _binomial_by_hand(gained: int, lost: int) -> float:
    """Sum of the probabilities of all splits at least as lopsided, each coin toss spelled out."""
    n = gained + lost
    far = abs(gained - lost)
    return sum(math.comb(n, k) for k in range(n + 1) if abs(n - 2 * k) >= far) / 2**n


def test_mcnemar_is_the_exact_binomial_test() -> None:
    """For every pair of counts up to 25 the p-value equals the one counted by hand."""
    for gained in range(26):
        for lost in range(26):
            assert mcnemar(gained, lost) == pytest.approx(_binomial_by_hand(gained, lost), rel=1e-9)


def test_interval_and_test_never_contradict_each_other() -> None:
    """The 95 % interval leaves zero out exactly when the exact test has p < 0.05, whatever else both nets get right."""
    for n in (40, 400):
        for gained in range(0, 20):
            for lost in range(0, 20):
                for both in {0, (n - gained - lost) // 2, n - gained - lost}:
                    low, high = paired_interval(both, gained, lost, n)
                    assert low <= (gained - lost) / n <= high
                    assert (low > 0 or high < 0) == (mcnemar(gained, lost) < 0.05)


def test_interval_covers_the_true_difference() -> None:
    """Over 2,000 draws the interval holds the true gain of 3 points in at least 93 % of them."""
    draws = np.random.default_rng(0).multinomial(400, [0.87, 0.05, 0.02, 0.06], size=2000)
    covers = [low <= 0.03 <= high for a, b, c, _ in draws for low, high in [paired_interval(a, b, c, 400)]]
    assert np.mean(covers) >= 0.93


@pytest.mark.parametrize(
    ("gained", "lost", "verdict"),
    [(30, 5, "better"), (5, 30, "worse"), (12, 9, "within noise"), (5, 0, "within noise"), (6, 0, "better")],
)
def test_verdicts_at_planted_differences(gained: int, lost: int, verdict: str) -> None:
    """A gain is called one only when it is; five images to none are still noise, six are not."""
    new, old = np.ones(400, dtype=bool), np.ones(400, dtype=bool)
    old[:gained] = False
    new[gained : gained + lost] = False
    found = compare(new, old)
    assert (found.gained, found.lost, found.verdict) == (gained, lost, verdict)
    assert found.difference == pytest.approx((gained - lost) / 400)


def test_exact_low_needs_fifty_nine_right_for_95_percent() -> None:
    """Without a mistake 59 audited labels show 95 % (RELIABILITY 5.4), 58 do not; none right shows nothing."""
    assert exact_low(58, 58) < 0.95 <= exact_low(59, 59)
    assert exact_low(0, 10) == 0


def test_bins_hold_equally_many_and_add_up() -> None:
    """15 bins of a random net hold all images, sizes differ by at most one, and the ECE is their weighted gap."""
    generator = np.random.default_rng(1)
    prob_NC = generator.dirichlet(np.ones(4), 100)
    truth_N = generator.integers(0, 4, 100)
    bins = reliability(prob_NC, truth_N)
    sizes = [n for _, _, n in bins]
    assert (len(bins), sum(sizes)) == (15, 100)
    assert max(sizes) - min(sizes) <= 1
    gap = sum(n * abs(confidence - hit) for confidence, hit, n in bins) / 100
    assert expected_calibration_error(prob_NC, truth_N) == pytest.approx(gap)
