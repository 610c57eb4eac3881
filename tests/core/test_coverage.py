"""The precision-coverage curve: counted by hand at every point."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.coverage import precision_coverage
from tasks.core.metrics import wilson


@given(st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.7, 0.9, 0.99]), st.booleans()), max_size=40), st.integers(1, 9))
def test_each_point_is_what_a_threshold_would_take(labels: list[tuple[float, bool]], points: int) -> None:
    """All labels of at least the point's confidence, how many of them are right, and Wilson's interval of that."""
    confidence_N = np.array([c for c, _ in labels])
    right_N = np.array([r for _, r in labels], dtype=bool)
    found = precision_coverage(confidence_N, right_N, points)
    assert len(found) <= points
    for coverage, confidence, precision, low, high, n in found:
        taken = confidence_N >= confidence
        assert n == taken.sum()
        assert coverage == n / len(labels)
        assert precision == right_N[taken].mean()
        assert (low, high) == wilson(int(right_N[taken].sum()), n)
    assert [p[0] for p in found] == sorted({p[0] for p in found})
    assert not labels or found[-1][0] == 1


def test_as_many_points_as_asked_for_evenly_spread() -> None:
    """A thousand different confidences give 100 points, a hundredth of the labels apart."""
    confidence_N = np.random.default_rng(0).permutation(1000) / 1000
    found = precision_coverage(confidence_N, confidence_N > 0.5)
    np.testing.assert_allclose([p[0] for p in found], np.arange(1, 101) / 100)
    assert found[0][2] == 1
    assert found[-1][2] == 0.499
