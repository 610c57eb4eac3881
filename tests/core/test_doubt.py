"""Evidence against a label, held against plain loops, and how a budget is spent on it."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core import doubt, evidence, neighbours
from tasks.core.budget import RANDOM, mix

NAMES = ("one", "two", "all")
WEIGHTS = st.lists(st.floats(0, 5), min_size=3, max_size=3)
seeds = st.integers(0, 2**31 - 1)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 30), st.integers(2, 5))
def test_against_is_the_margin_of_the_best_other_class(seed: int, N: int, C: int) -> None:
    """Row by row: the largest of the others minus the given one; above 0 exactly where another class is named."""
    rng = np.random.default_rng(seed)
    prob_NC, label_N = rng.dirichlet(np.ones(C), N), rng.integers(0, C, N)
    found_N = doubt.against(prob_NC, label_N)
    for found, prob_C, label in zip(found_N, prob_NC, label_N, strict=True):
        assert found == max(p for c, p in enumerate(prob_C) if c != label) - prob_C[label]
        assert (found > 0) == (prob_C.argmax() != label)
        assert -1 <= found <= 1
    assert np.isnan(doubt.against(np.full((1, C), np.nan), np.zeros(1, np.int64))).all()


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 30))
def test_copies_against_counts_the_other_copies(seed: int, N: int) -> None:
    """The share of the other members of a group with another label; nothing where there is no other."""
    rng = np.random.default_rng(seed)
    group_N, label_N = rng.integers(0, max(N // 2, 1), N), rng.integers(0, 3, N)
    for row, found in enumerate(doubt.copies_against(group_N, label_N)):
        others = [other for other in range(N) if other != row and group_N[other] == group_N[row]]
        if others:
            assert found == sum(label_N[other] != label_N[row] for other in others) / len(others)
        else:
            assert np.isnan(found)


def test_a_class_is_rare_below_half_of_an_even_share() -> None:
    """Of 20 images and 4 classes an even share is 5: 2 are rare, 3 are not."""
    label_N = np.repeat([0, 1, 2, 3], [2, 3, 7, 8])
    assert doubt.rare(label_N, 4).tolist() == [True] * 2 + [False] * 18


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 40), st.integers(1, 12), st.integers(1, 4))
def test_the_nearest_others_vote_against_a_label(seed: int, N: int, k: int, classes: int) -> None:
    """Equal to sorting every row of cosines and counting; the image itself never votes."""
    gen = torch.Generator().manual_seed(seed)
    feature_ND, label_N = torch.randn(N, 6, generator=gen), torch.randint(0, classes, (N,), generator=gen)
    found_N = neighbours.against(feature_ND, label_N, classes, k)
    for row in range(N):
        cosine_N = torch.cosine_similarity(feature_ND[row : row + 1], feature_ND)
        others = sorted((i for i in range(N) if i != row), key=lambda i: -float(cosine_N[i]))[:k]
        if not others:
            assert found_N.isnan().all()
            continue
        votes, own = Counter(int(label_N[i]) for i in others), int(label_N[row])
        strongest = max((votes[c] for c in range(classes) if c != own), default=0)
        assert float(found_N[row]) == pytest.approx((strongest - votes[own]) / len(others))


def test_together_is_the_mean_of_what_is_known() -> None:
    """NaN counts for nothing, and nothing known is NaN."""
    one, two = np.array([1.0, np.nan, np.nan]), np.array([0.0, 0.5, np.nan])
    np.testing.assert_array_equal(doubt.together([one, two]), [0.5, 0.5, np.nan])


def test_the_strongest_come_first() -> None:
    """By score, then by the tie, then by row; NaN last, and members alone."""
    score, tie = np.array([0.1, 0.9, np.nan, 0.9, 0.9, 5.0]), np.array([0, 1, 9, 2, 1, 0.0])
    assert doubt.strongest(score, tie, np.array([1, 1, 1, 1, 1, 0], bool)).tolist() == [3, 1, 4, 0, 2]


def _lists(rng: np.random.Generator, N: int) -> dict[str, np.ndarray]:
    short = [rng.permutation(N)[: rng.integers(0, N + 1)] for _ in NAMES[:-1]]
    return dict(zip(NAMES, [*short, rng.permutation(N)], strict=True))


@settings(max_examples=40, deadline=None)
@given(
    seeds, st.integers(1, 60), st.integers(1, 80), st.floats(0, 1), st.lists(st.floats(0, 5), min_size=3, max_size=3)
)
def test_a_queue_spends_its_budget_exactly(seed: int, N: int, budget: int, share: float, weight: list[float]) -> None:
    """min(budget, N) rows, none twice, each in the list it stands for; the slice is as large as asked."""
    lists = _lists(np.random.default_rng(seed), N)
    queue = mix(lists, dict(zip(NAMES, weight, strict=True)), N, budget, share, seed)
    size = min(budget, N)
    assert len(queue.row_B) == len(set(queue.row_B.tolist())) == len(queue.reason_B) == size
    assert queue.reason_B.count(RANDOM) == int(np.ceil(share * size))
    for row, reason in zip(queue.row_B.tolist(), queue.reason_B, strict=True):
        assert 0 <= row < N
        assert reason == RANDOM or row in lists[reason]


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(10, 60))
def test_lists_are_worked_off_from_their_heads_in_proportion(seed: int, N: int) -> None:
    """Of a list no row is left out before one that is taken; without overlap the shares are the weights."""
    rng = np.random.default_rng(seed)
    lists = _lists(rng, N)
    queue = mix(lists, {"one": 2, "two": 1, "all": 1}, N, N // 2, 0.1, seed)
    for name, rows in lists.items():
        taken = [row for row, reason in zip(queue.row_B.tolist(), queue.reason_B, strict=True) if reason == name]
        head = [row for row in rows.tolist() if row in taken or row not in queue.row_B]
        assert head[: len(taken)] == taken
    apart = {"one": np.arange(0, 40), "two": np.arange(40, 80), "all": np.roll(np.arange(120), 40)}
    queue = mix(apart, {"one": 2, "two": 1, "all": 1}, 120, 40, 0, seed)
    assert Counter(queue.reason_B) == {"one": 20, "two": 10, "all": 10}
    assert Counter(queue.reason_B[:8]) == {"one": 4, "two": 2, "all": 2}


def test_the_slice_is_uniform_and_the_seed_decides_it() -> None:
    """Over 3,000 seeds every row is drawn as often as any other, though the lists want the same ten rows always."""
    N, drawn = 40, np.zeros(40)
    lists = {"one": np.arange(10), "two": np.arange(10), "all": np.arange(N)}
    for seed in range(3000):
        queue = mix(lists, dict.fromkeys(NAMES, 1.0), N, 20, 0.2, seed)
        drawn[[row for row, reason in zip(queue.row_B, queue.reason_B, strict=True) if reason == RANDOM]] += 1
    expected = 3000 * 4 / N
    chi2 = ((drawn - expected) ** 2 / (expected * (1 - 4 / N))).sum()
    assert chi2 < 75  # of 39 degrees of freedom: 1 in 2,000
    again = [mix(lists, dict.fromkeys(NAMES, 1.0), N, 20, 0.2, seed).row_B.tolist() for seed in (7, 7, 8)]
    assert again[0] == again[1] != again[2]


def test_a_list_that_cannot_fill_the_budget_is_refused() -> None:
    """The last list must have every row."""
    with pytest.raises(ValueError, match="every row"):
        mix({"one": np.arange(3)}, {"one": 1.0}, 4, 2, 0, 0)


def test_every_list_holds_what_its_name_says() -> None:
    """Six labels of two classes, each wrong in a way of its own, and one that nothing speaks against."""
    nan = np.nan
    known = evidence.Evidence(
        label_N=np.array([0, 0, 0, 0, 0, 0, 0, 1]),
        classes=2,
        opinions=[
            np.array([-0.8, 0.6, -0.4, -0.2, nan, -0.98, -0.8, -0.8]),
            np.array([-0.8, -0.8, 0.2, -0.2, nan, -0.98, -0.8, -0.8]),
        ],
        vote_N=np.array([-1, -1, -0.2, 0.4, 0.8, -1, -1, nan]),
        copies_N=np.array([0.5, nan, 0, nan, nan, 1, nan, nan]),
        confidence_N=np.array([0.9, 0.8, 0.7, 0.6, 0.99, 0.99, 0.9, 0.9]),
        threshold_N=np.array([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, nan]),
    )
    found = {name: rows.tolist() for name, rows in evidence.lists(known).items()}
    assert found["disagreement"] == [2, 1]  # the mean of all that is known: -0.13 against -0.47
    assert found["atypical"] == [4, 3]
    assert found["copies"] == [5, 0]
    assert found["rare_class"] == [7]  # one of eight is less than half of four
    assert found["threshold"] == [3, 2, 1, 0, 6, 4, 5, 7]
