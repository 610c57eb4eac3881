"""Several seeds: intervals that cover, and no claim from too little."""

import numpy as np
import pytest
from scipy import stats

from tasks.core.seeds import paired, spread


def test_the_interval_is_students_for_pairs() -> None:
    """Mean, spread, interval and verdict are those of scipy's paired t test."""
    generator = np.random.default_rng(0)
    old = generator.normal(0.9, 0.02, 5)
    new = old + generator.normal(0.03, 0.01, 5)
    found = paired(new.tolist(), old.tolist())
    reference = stats.ttest_rel(new, old).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))
    assert found.mean == pytest.approx(np.mean(new - old))
    assert spread(old.tolist()).std == pytest.approx(np.std(old, ddof=1))
    assert found.verdict == "better"
    assert paired(old.tolist(), new.tolist()).verdict == "worse"


def test_equal_nets_are_called_different_in_one_study_of_twenty() -> None:
    """The interval covers: of 4,000 studies of two equally good nets, 5 % claim a difference, and not more."""
    difference = np.random.default_rng(1).normal(0, 0.01, (4000, 5))
    zeros = [0.0] * 5
    claims = sum(paired(row.tolist(), zeros).verdict != "within noise" for row in difference)
    assert 150 < claims < 250


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_seeds_make_no_claim(n: int) -> None:
    """However large the difference."""
    found = paired([0.99] * n, [0.5] * n)
    assert (found.verdict, found.low, found.high) == ("no claim", None, None)


def test_differences_without_spread_make_no_claim() -> None:
    """One more image right in each of three seeds has an interval of no width, which is not certainty."""
    assert paired([0.91, 0.92, 0.93], [0.90, 0.91, 0.92]).verdict == "no claim"
    assert paired([0.91, 0.92, 0.93], [0.91, 0.92, 0.93]).verdict == "within noise"
