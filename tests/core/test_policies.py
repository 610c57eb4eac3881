"""Every policy against a slow reference of its own, and the radix selection against a sort."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks.core import belief, caps, curation, selection, thresholds

PERSON = selection.PERSON


@st.composite
def columns(draw: st.DrawFn) -> tuple[NDArray[np.int16], NDArray[np.int32], int]:
    """Groups and keys with many ties: some alike but for their last bits, some filtered out, some of people."""
    n, groups = draw(st.integers(0, 200)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    step = draw(st.sampled_from([1, 7, 1 << 9, 1 << 20]))
    key_N = (0x3F000000 + step * rng.integers(0, 8, n)).clip(1, selection.SURE).astype(np.int32)
    key_N[rng.random(n) < 0.1] = PERSON
    key_N[rng.random(n) < 0.2] *= -1
    return rng.integers(0, groups, n).astype(np.int16), key_N, groups


@settings(max_examples=200, deadline=None)
@given(column=columns(), data=st.data(), threads=st.sampled_from([1, 2]), block=st.sampled_from([1, 3, 1 << 18]))
def test_the_radix_cut_takes_what_a_stable_sort_takes(
    column: tuple[NDArray[np.int16], NDArray[np.int32], int], data: st.DataObject, threads: int, block: int
) -> None:
    """The k largest keys of each group, ties by row, whatever the block size and the number of threads."""
    group_N, key_N, groups = column
    wanted_G = np.array(data.draw(st.lists(st.integers(0, 60), min_size=groups, max_size=groups)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "BLOCK", block)
        first = selection.histogram(group_N, key_N, groups, 1, PERSON, threads)
        cut = selection.cut(group_N, key_N, first, wanted_G, threads)
    seen_G = np.zeros(groups, dtype=np.int64)
    taken = [cut.takes(group_N[i : i + 7], key_N[i : i + 7], seen_G) for i in range(0, len(key_N), 7)]
    expected = np.zeros(len(key_N), dtype=bool)
    for group in range(groups):
        rows = [i for i in range(len(key_N)) if group_N[i] == group and key_N[i] > 0]
        expected[sorted(rows, key=lambda i: (-int(key_N[i]), i))[: wanted_G[group]]] = True
    assert np.array_equal(np.concatenate([np.zeros(0, dtype=bool), *taken]), expected)


@given(n=st.integers(1, 40), cap=st.sampled_from([1, 3, 10, 0.2, 0.5, 0.9]), seed=st.integers(0, 1000))
def test_source_caps_hold_exactly(n: int, cap: float, seed: int) -> None:
    """No source keeps more than its cap, the most confident stay, and no more are lost than must."""
    rng = np.random.default_rng(seed)
    source_N = rng.integers(0, 3, n).astype(np.int16)
    key_N = (0x3F000000 + rng.integers(0, 4, n)).astype(np.int32)
    before = key_N.copy()
    caps.cap_sources(source_N, key_N, cap)
    assert np.array_equal(np.abs(key_N), before)
    counts = [int((source_N == s).sum()) for s in range(3)]
    most = max(m for m in range(max(counts) + 1) if cap >= 1 or m <= cap * sum(min(c, m) for c in counts))
    most = int(cap) if cap >= 1 else most
    for s in range(3):
        ranked = sorted(np.flatnonzero(source_N == s), key=lambda i: (-int(before[i]), i))
        assert [i for i in ranked if key_N[i] > 0] == ranked[:most]


def test_people_pass_a_source_cap_and_use_it_up() -> None:
    """Two labels of people in a source with a cap of 1 stay; the teacher's own are capped."""
    key_N = np.array([selection.SURE, PERSON, PERSON, selection.SURE], dtype=np.int32)
    caps.cap_sources(np.array([0, 0, 0, 1], dtype=np.int16), key_N, 1)
    assert (key_N > 0).tolist() == [False, True, True, True]


@st.composite
def beliefs(draw: st.DrawFn) -> NDArray[np.float32]:
    """Distributions over 2 to 4 classes, float32 (N, C)."""
    n, classes = draw(st.integers(1, 40)), draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    prob_NC: NDArray[np.float32] = rng.dirichlet(np.full(classes, 0.5), n).astype(np.float32)
    return belief.tempered(np.maximum(prob_NC, 1e-6), 1.0)


@given(
    prob_NC=beliefs(), temperature=st.sampled_from([0.05, 0.4, 1.5, 20.0]), at=st.integers(0, 40), seed=st.integers()
)
def test_the_quick_reading_is_the_exact_one(
    prob_NC: NDArray[np.float32], temperature: float, at: int, seed: int
) -> None:
    """exp(log p / T + log w) in float32 is p^(1/T)·w in float64 to 3e-6, zeros and weights of 0 included; and a row is

    the same to the bit whatever stands beside it.
    """
    rng = np.random.default_rng(abs(seed))
    prob_NC = np.where(rng.random(prob_NC.shape) < 0.2, 0, prob_NC).astype(np.float32)
    prob_NC[prob_NC.sum(axis=1) == 0] = 1
    weight_C = np.where(rng.random(prob_NC.shape[1]) < 0.2, 0.0, rng.uniform(0.1, 5, prob_NC.shape[1]))
    for weights in (None, weight_C):
        with np.errstate(divide="ignore"):
            log_NC = np.log(prob_NC.astype(np.float64)) / temperature
            log_NC = log_NC if weights is None else log_NC + np.log(weights)
        lost_N = np.isneginf(log_NC.max(axis=1))  # nothing is left of such a row: it stays as it was
        log_NC[lost_N] = np.log(belief.tempered(prob_NC[lost_N], temperature).clip(1e-30))
        exact_NC = np.exp(log_NC - log_NC.max(axis=1, keepdims=True))
        exact_NC /= exact_NC.sum(axis=1, keepdims=True)
        quick_NC = belief.powered(prob_NC, temperature, weights)
        np.testing.assert_allclose(quick_NC, exact_NC, rtol=0, atol=3e-6)
        parts = [belief.powered(part, temperature, weights) for part in np.split(prob_NC, [at]) if len(part)]
        assert np.array_equal(np.concatenate(parts), quick_NC)


@given(prob_NC=beliefs(), threshold=st.sampled_from([0.5, 0.8, 0.95]))
def test_flexmatch_is_its_formula(prob_NC: NDArray[np.float32], threshold: float) -> None:
    """M(sigma_c / max sigma) times the threshold, counted image by image; the best learnt class keeps the threshold."""
    label_N, key_N = curation.choose(prob_NC, np.full(len(prob_NC), -1))
    classes = prob_NC.shape[1]
    got = curation.floors(label_N, key_N, threshold, "flexmatch", curation.Mean.of(prob_NC), classes).view(np.float32)
    sigma = [0] * classes
    for row in prob_NC:
        sigma[int(row.argmax())] += bool(row.max() >= np.float32(threshold))
    beta = [s / max(*sigma, 1) for s in sigma]
    np.testing.assert_allclose(got, [threshold * b / (2 - b) for b in beta], rtol=1e-6, atol=1e-40)
    assert max(sigma) == 0 or got.max() == np.float32(threshold)


@given(prob_NC=beliefs())
def test_freematch_is_its_formula(prob_NC: NDArray[np.float32]) -> None:
    """Mean probability over the largest of them, times the mean confidence."""
    label_N, key_N = curation.choose(prob_NC, np.full(len(prob_NC), -1))
    mean = curation.Mean.of(prob_NC)
    got = curation.floors(label_N, key_N, 0.9, "freematch", mean, prob_NC.shape[1]).view(np.float32)
    mean_C = prob_NC.astype(np.float64).mean(axis=0)
    expected = mean_C / mean_C.max() * prob_NC.astype(np.float64).max(axis=1).mean()
    # Sums are whole multiples of 2^-32, so a tiny mean is off by as much.
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2**-30)


@given(prob_NC=beliefs(), align=st.sampled_from(["uniform", "labeled"]))
def test_alignment_is_its_formula(prob_NC: NDArray[np.float32], align: Any) -> None:
    """q times prior over mean, normalised row by row."""
    labeled_C = np.arange(1.0, prob_NC.shape[1] + 1)
    ratio_C = belief.prior_ratio(align, lambda: [prob_NC], labeled_C)
    got = belief.reweighted(prob_NC, ratio_C)
    prior = np.ones(len(labeled_C)) if align == "uniform" else labeled_C
    for row, aligned in zip(prob_NC.astype(np.float64), got, strict=True):
        weighted = row * (prior / prior.sum()) / prob_NC.astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(aligned, weighted / weighted.sum(), rtol=1e-4, atol=1e-6)


def test_em_finds_the_pools_prior() -> None:
    """Posteriors of two overlapping classes, made for a prior of one half: EM finds that the pool holds 85 % of one."""
    rng = np.random.default_rng(0)
    truth = rng.random(20_000) < 0.85
    x = rng.normal(np.where(truth, 1.0, -1.0))
    prob = 1 / (1 + np.exp(-2 * x))
    prob_NC = np.stack([prob, 1 - prob], axis=1).astype(np.float32)
    ratio_C = belief.estimated_ratio(lambda: [prob_NC[:9_000], prob_NC[9_000:]], np.array([0.5, 0.5]))
    assert 0.5 * ratio_C[0] == pytest.approx(truth.mean(), abs=0.01)
    aligned = belief.reweighted(prob_NC, ratio_C)
    assert aligned[:, 0].mean() == pytest.approx(0.5 * ratio_C[0], abs=1e-4)
    better = ((aligned[:, 0] > 0.5) == truth).mean() - ((prob > 0.5) == truth).mean()
    assert better > 0.02


@settings(max_examples=100, deadline=None)
@given(
    prob_NC=beliefs(),
    adaptive=st.sampled_from(["none", "flexmatch", "freematch"]),
    align=st.sampled_from(["none", "uniform", "labeled", "estimated"]),
    source_cap=st.sampled_from([None, 2, 0.5]),
    per_class=st.sampled_from([None, 3, "mean"]),
    seed=st.integers(0, 100),
)
def test_the_order_of_the_images_changes_nothing_but_ties(
    prob_NC: NDArray[np.float32], seed: int, **policy: Any
) -> None:
    """Shuffled and put back: same thresholds, same number of each reason in each class, and every image has one."""
    rng = np.random.default_rng(seed)
    human_N = rng.choice([-1, -1, -1, -2, 0, 1], len(prob_NC))
    source_N = rng.integers(0, 2, len(prob_NC)).astype(np.int16)
    order = rng.permutation(len(prob_NC))
    chosen = {"threshold": 0.6, "max_copies": 3, "labels": "soft", "temperature": 0.8, **policy}
    labeled_C = np.arange(1.0, prob_NC.shape[1] + 1)
    one = curation.curate(prob_NC, human_N, source_N, labeled_C, **chosen)
    two = curation.curate(prob_NC[order], human_N[order], source_N[order], labeled_C, **chosen)
    assert np.array_equal(one.target_NC[order], two.target_NC)
    assert np.array_equal(one.confidence_N[order], two.confidence_N)
    unique = len(np.unique(one.confidence_N[human_N == -1])) == (human_N == -1).sum()
    if unique and not (human_N >= 0).any():
        assert np.array_equal(one.reason_N[order], two.reason_N)
        assert np.array_equal(one.copies_N[order], two.copies_N)
    if unique or policy["source_cap"] is None:
        assert np.array_equal(np.bincount(one.reason_N), np.bincount(two.reason_N))
    assert np.array_equal(one.reason_N == curation.HUMAN_LABEL, human_N >= 0)
    assert np.array_equal(one.reason_N == curation.HUMAN_REJECTED, human_N == -2)
    assert np.array_equal(one.copies_N > 0, np.isin(one.reason_N, [curation.KEPT, curation.HUMAN_LABEL]))


def test_a_class_that_nobody_believes_in_divides_by_nothing() -> None:
    """Mean 0 of a class: alignment leaves the others as they are; thresholds stay finite."""
    prob_NC = np.array([[1, 0], [1, 0]], dtype=np.float32)
    ratio_C = belief.prior_ratio("uniform", lambda: [prob_NC], np.ones(2))
    assert belief.reweighted(prob_NC, ratio_C).tolist() == [[1, 0], [1, 0]]
    assert np.isfinite(thresholds.flexmatch(0.9, np.array([0, 0]))).all()
    assert np.isfinite(thresholds.freematch(0.0, np.zeros(2))).all()
