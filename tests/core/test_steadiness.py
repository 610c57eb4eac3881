"""mCE and mFR: ratios of sums, their mean, and intervals over the images."""

import numpy as np
import pytest

from tasks.core.steadiness import flips, relative_mean


def test_flips_count_changes_from_frame_to_frame() -> None:
    """Of 4 frames: 0 0 1 0 changes twice against the frame before, once against the first."""
    said_FN = np.array([[0, 2], [0, 2], [1, 2], [0, 2]])
    np.testing.assert_allclose(flips(said_FN, with_first=False), [2 / 3, 0])
    np.testing.assert_allclose(flips(said_FN, with_first=True), [1 / 3, 0])
    np.testing.assert_allclose(flips(said_FN[:1], with_first=False), [0, 0])


def test_it_is_the_mean_of_the_papers_ratios() -> None:
    """Sum of errors over sum of the reference's errors, per corruption, averaged; a net against itself is 100."""
    rng = np.random.default_rng(0)
    reference, net = rng.integers(0, 6, (200, 3)), rng.integers(0, 4, (200, 3))
    found = relative_mean(net, reference)
    by_hand = [net[:, k].sum() / reference[:, k].sum() for k in range(3)]
    assert found["value"] == pytest.approx(100 * np.mean(by_hand))
    assert found["each"] == pytest.approx(by_hand)
    assert found["low"] < found["value"] < found["high"] < 100
    same = relative_mean(reference, reference)
    assert (same["value"], same["low"], same["high"]) == pytest.approx((100, 100, 100))


def test_what_the_reference_never_gets_wrong_is_left_out() -> None:
    """A ratio to 0 is undefined: it is not counted as 0 or infinite, and is reported."""
    reference = np.array([[1, 0], [1, 0], [0, 0]])
    found = relative_mean(np.ones((3, 2)), reference)
    assert (found["value"], found["each"], found["left_out"]) == (150, [1.5, None], 1)
    nothing = relative_mean(np.ones((3, 1)), np.zeros((3, 1)))
    assert (nothing["value"], nothing["low"], nothing["each"]) == (None, None, [None])


def test_the_interval_covers_the_truth() -> None:
    """Of 400 samples of two nets that find the same images hard, 92 to 98 % of the intervals hold the true ratio."""
    rng, covered = np.random.default_rng(1), 0
    truth = 100 * _share_below(0.2) / _share_below(0.3)
    for _ in range(400):
        hard_N1 = rng.random((150, 1))  # an image that is hard for one net is hard for the other
        found = relative_mean(
            hard_N1 + rng.normal(0, 0.2, (150, 2)) < 0.2, hard_N1 + rng.normal(0, 0.2, (150, 2)) < 0.3
        )
        covered += found["low"] <= truth <= found["high"]
    assert 0.92 <= covered / 400 <= 0.98


def _share_below(limit: float) -> float:
    rng = np.random.default_rng(0)
    return float((rng.random(200_000) + rng.normal(0, 0.2, 200_000) < limit).mean())
