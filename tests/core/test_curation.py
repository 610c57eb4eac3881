"""Curation against a plain loop, and the laws no setting may break."""

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks.core.curation import REASONS, Curated, curate
from tests.core import slow_curation

PerClass = int | Literal["mean"] | None


@st.composite
def pools(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities with many ties, and decisions of people."""
    n, classes = draw(st.integers(1, 25)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    prob_NC = rng.integers(1, 5, (n, classes)).astype(np.float32) ** rng.integers(1, 6)
    human_N = rng.choice(np.r_[[-1] * 6, [-2], np.arange(classes)], n)
    return prob_NC / prob_NC.sum(axis=1, keepdims=True), human_N


@settings(max_examples=200, deadline=None)
@given(
    pool=pools(),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
    per_class=st.sampled_from([1, 2, 3, 7, "mean", None]),
    max_copies=st.integers(1, 4),
)
def test_equal_to_the_rule_written_as_a_loop(
    pool: tuple[NDArray[np.float32], NDArray[np.int64]], threshold: float, per_class: PerClass, max_copies: int
) -> None:
    """Reasons and copies are those of the plain rule; one reason for each image; copies exactly where kept."""
    got = _curate(*pool, threshold=threshold, per_class=per_class, max_copies=max_copies)
    reasons, copies = _slow(*pool, threshold, per_class, max_copies)
    assert [REASONS[r] for r in got.reason_N] == reasons
    assert got.copies_N.tolist() == copies
    shown = np.isin(got.reason_N, [REASONS.index("kept"), REASONS.index("human_label")])
    assert np.array_equal(got.copies_N > 0, shown)
    np.testing.assert_allclose(got.target_NC.sum(axis=1), 1, rtol=1e-5)


@settings(max_examples=100, deadline=None)
@given(
    pool=pools(),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.6, 1.0]),
    per_class=st.sampled_from([1, 2, 7, "mean", None]),
    labels=st.sampled_from(["soft", "hard"]),
    temperature=st.sampled_from([0.5, 1.0, 1.7]),
)
def test_bit_identical_to_the_first_version(pool: tuple[NDArray[np.float32], NDArray[np.int64]], **chosen: Any) -> None:
    """With the newer policies off, every array is the one that the sort in memory gave, bit by bit, types included."""
    new, old = _curate(*pool, **chosen), slow_curation.curate(*pool, max_copies=4, **chosen)
    for name in ("label_N", "copies_N", "reason_N", "confidence_N", "target_NC"):
        mine, first = getattr(new, name), getattr(old, name)
        assert mine.dtype == first.dtype, name
        assert np.array_equal(mine, first), name


@given(pool=pools(), threshold=st.floats(0, 1), per_class=st.sampled_from([1, 5, "mean", None]))
def test_people_win(pool: tuple[NDArray[np.float32], NDArray[np.int64]], threshold: float, per_class: PerClass) -> None:
    """A label set by a person is always shown, one-hot; a rejected image never is."""
    prob_NC, human_N = pool
    got = _curate(prob_NC, human_N, threshold=threshold, per_class=per_class)
    set_N, rejected_N = human_N >= 0, human_N == -2
    assert np.array_equal(got.label_N[set_N], human_N[set_N])
    assert np.array_equal(got.target_NC[set_N], np.eye(prob_NC.shape[1])[human_N[set_N]])
    assert (got.copies_N[set_N] > 0).all()
    assert (got.copies_N[rejected_N] == 0).all()


@given(pool=pools())
def test_a_higher_threshold_keeps_no_other_images(pool: tuple[NDArray[np.float32], NDArray[np.int64]]) -> None:
    """Without balancing, what 0.6 keeps is part of what 0.4 keeps."""
    low, high = (_curate(*pool, threshold=t, per_class=None).copies_N > 0 for t in (0.4, 0.6))
    assert not (high & ~low).any()


def test_rare_classes_are_duplicated_most_confident_first() -> None:
    """Two images of class 1 fill five places as 3 + 2 copies, one image of class 2 stops at max_copies."""
    prob_NC = np.array([[0.9, 0.05, 0.05]] * 6 + [[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    got = _curate(prob_NC, np.full(9, -1), per_class=5, max_copies=3)
    assert got.copies_N.tolist() == [1, 1, 1, 1, 1, 0, 2, 3, 3]
    assert REASONS[got.reason_N[5]] == "class_full"


def test_temperature_softens_before_the_threshold() -> None:
    """p^(1/T) normalised: T = 2 turns 0.8 : 0.2 into 2 : 1, which 0.7 then refuses; the order of classes stays."""
    prob_NC = np.array([[0.8, 0.2], [0.1, 0.9]])
    got = _curate(prob_NC, np.full(2, -1), threshold=0.7, temperature=2.0)
    np.testing.assert_allclose(got.target_NC, [[2 / 3, 1 / 3], [1 / 4, 3 / 4]], rtol=1e-6)
    assert [REASONS[r] for r in got.reason_N] == ["low_confidence", "kept"]


def test_a_tiny_temperature_is_the_hard_label() -> None:
    """p^(1/T) never underflows to nothing."""
    prob_NC = np.full((1, 1000), 1e-3, dtype=np.float32)
    prob_NC[0, 7] = 2e-3
    got = _curate(prob_NC, np.full(1, -1), temperature=1e-3)
    assert got.target_NC[0, 7] == 1
    assert np.isfinite(got.target_NC).all()


def test_hard_labels_are_one_hot() -> None:
    """labels = hard keeps only the best class; the confidence stays."""
    got = _curate(np.array([[0.6, 0.4]]), np.full(1, -1), labels="hard")
    assert got.target_NC.tolist() == [[1, 0]]
    assert got.confidence_N[0] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("prob", "human", "message"),
    [
        ([[0.5, 0.5], [np.nan, 1]], [-1, -1], "row 1: .* is no distribution"),
        ([[0.5, 0.5], [0, 0]], [-1, -1], "row 1: .* is no distribution"),
        ([[0.5, 0.5], [0.5, 0.5]], [-1, 2], "row 1: a person set class 2; known: 0 to 1"),
    ],
)
def test_bad_rows_are_named(prob: list[list[float]], human: list[int], message: str) -> None:
    """A row that cannot be right stops the run."""
    with pytest.raises(ValueError, match=message):
        _curate(np.array(prob), np.array(human))


def _curate(
    prob_NC: NDArray[Any], human_N: NDArray[Any], source_N: NDArray[Any] | None = None, **changes: Any
) -> Curated:
    base = {"threshold": 0.0, "per_class": None, "max_copies": 4, "labels": "soft", "temperature": 1.0}
    off = {"adaptive": "none", "align": "none", "source_cap": None}
    source_N = np.zeros(len(prob_NC), dtype=np.int16) if source_N is None else source_N
    return curate(prob_NC, human_N, source_N, np.ones(prob_NC.shape[1]), **(base | off | changes))


def _slow(
    prob_NC: NDArray[Any], human_N: NDArray[Any], threshold: float, per_class: PerClass, max_copies: int
) -> tuple[list[str], list[int]]:
    """The rule, image by image."""
    n, classes = prob_NC.shape
    confidence = [float(row.max() / row.sum()) for row in prob_NC.astype(np.float64)]
    label = [int(h) if h >= 0 else int(row.argmax()) for h, row in zip(human_N, prob_NC, strict=True)]
    reasons = ["kept" if np.float32(c) >= threshold else "low_confidence" for c in confidence]
    for i, h in enumerate(human_N):
        reasons[i] = "human_label" if h >= 0 else "human_rejected" if h == -2 else reasons[i]
    shown = ("kept", "human_label")
    members = [[i for i in range(n) if label[i] == c and reasons[i] in shown] for c in range(classes)]
    counts = [len(m) for m in members if m]
    wanted = per_class if per_class != "mean" else int(sum(counts) / len(counts) + 0.5) if counts else 0
    copies = [0] * n
    for ids in members:
        people = [i for i in ids if reasons[i] == "human_label"]
        teacher = sorted((i for i in ids if i not in people), key=lambda i: (-np.float32(confidence[i]), i))
        room = len(teacher) if wanted is None else max(wanted - len(people), 0)
        for i in teacher[room:]:
            reasons[i] = "class_full"
        keep = people + teacher[:room]
        total = len(keep) if wanted is None else max(len(keep), min(wanted, len(keep) * max_copies))
        for turn in range(total):
            copies[keep[turn % len(keep)]] += 1
    return reasons, copies
