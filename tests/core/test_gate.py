"""The rules of the gate: what they promise, counted over every possible outcome, and what they say of planted nets."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.compare import paired_interval
from tasks.core.gate import LEVEL, Limits, holm, judge, p_fallen, resolution

LIMITS = Limits(margin=0.005, recall=0.05, ece=0.02)


def _outcomes(n: int, gain: float, loss: float) -> Iterator[tuple[float, int, int]]:
    """Every number of gained and lost images of n, with its probability."""
    for gained in range(n + 1):
        for lost in range(n + 1 - gained):
            rest = n - gained - lost
            ways = math.factorial(n) // (math.factorial(gained) * math.factorial(lost) * math.factorial(rest))
            yield ways * gain**gained * loss**lost * (1 - gain - loss) ** rest, gained, lost


@pytest.mark.parametrize("differing", [0.02, 0.1, 0.3])
def test_an_equally_good_student_is_rarely_called_worse(differing: float) -> None:
    """Summed over all outcomes of 40 images, U < 0 has a probability of at most 5 % when nothing is worse."""
    chance = sum(
        p
        for p, gained, lost in _outcomes(40, differing / 2, differing / 2)
        if p > 1e-9 and paired_interval(40 - gained - lost, gained, lost, 40, 2 * LEVEL - 1)[1] < 0
    )
    assert chance <= 1 - LEVEL


@pytest.mark.parametrize("gain", [0.01, 0.1])
def test_a_student_worse_by_the_margin_is_rarely_promoted(gain: float) -> None:
    """L > -margin has a probability of at most 5 % when the student is worse by exactly the margin, here 10 points."""
    chance = sum(
        p
        for p, gained, lost in _outcomes(40, gain, gain + 0.1)
        if p > 1e-9 and paired_interval(40 - gained - lost, gained, lost, 40, 2 * LEVEL - 1)[0] > -0.1
    )
    assert chance <= 1 - LEVEL


@pytest.mark.parametrize("gain", [0.0, 0.05])
def test_a_recall_that_fell_as_far_as_is_allowed_is_rarely_held_against_it(gain: float) -> None:
    """p < 0.05 has a probability of at most 5 % at the border, 5 points, over all outcomes of 25 images of a class."""
    chance = sum(
        p
        for p, gained, lost in _outcomes(25, gain, gain + 0.05)
        if p > 1e-6 and p_fallen(25 - gained - lost, gained, lost, 25, 0.05) < 1 - LEVEL
    )
    assert chance <= 1 - LEVEL


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_step_down_procedure(p_values: list[float]) -> None:
    """An adjusted p-value is the smallest risk at which stepping down through the sorted ones rejects it."""
    slow = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, (len(p_values) - rank) * p_values[i])
        slow[i] = min(largest, 1.0)
    assert holm(p_values) == pytest.approx(slow)


@pytest.mark.parametrize(("differing", "n"), [(0, 30), (7, 60), (12, 200), (101, 1000)])
def test_the_resolution_is_the_smallest_loss_that_would_be_shown(differing: int, n: int) -> None:
    """By trying all losses; one image less would not be shown. With many images it is near 1.645 sqrt(differing)/n."""
    found = resolution(n - differing, differing, n)
    high = {
        (d, lost): paired_interval(n - max(d, differing), d - lost, lost, n, 2 * LEVEL - 1)[1]
        for d in range(differing, differing + 12)
        for lost in range((d + 1) // 2, d + 1)
    }
    first = min(d for d, _ in high if any(h < 0 for (e, _), h in high.items() if e == d))
    slow = min((2 * lost - d) / n for (d, lost), h in high.items() if d == first and h < 0)
    assert found == pytest.approx(slow)
    if differing > 50:
        assert found == pytest.approx(1.645 * math.sqrt(differing) / n, rel=0.15)


def _nets(n: int, gained: int, lost: int, sure: float = 0.9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Student and champion, both right on 90 % beside what they gain and lose; truth of 10 classes."""
    truth_N = np.arange(n) % 10
    wrong_N = np.arange(n) // 10 % 10 == 9
    answers = []
    for extra in (range(lost), range(lost, lost + gained)):
        at_N = wrong_N.copy()
        at_N[np.flatnonzero(~wrong_N)[list(extra)]] = True
        said_N = (truth_N + at_N) % 10
        prob_NC = np.full((n, 10), (1 - sure) / 9)
        prob_NC[np.arange(n), said_N] = sure
        answers.append(prob_NC)
    return answers[0], answers[1], truth_N


def _verdict(n: int, gained: int, lost: int) -> tuple[str, tuple[str, ...]]:
    found = judge(*_nets(n, gained, lost), LIMITS, seed=0)
    return found.verdict, found.rules


def test_three_points_are_stopped_where_they_can_be_seen() -> None:
    """On 1,000 images 60 lost and 30 gained are worse; on 100 images with the same shares the set cannot tell."""
    assert _verdict(1000, 30, 60) == ("hold", ("worse",))
    assert _verdict(100, 3, 6) == ("cannot_tell", ("cannot_tell",))
    found = judge(*_nets(100, 3, 6), LIMITS, seed=0)
    assert found.resolution > 0.03
    assert found.needed > 1000


def test_a_better_student_and_one_that_is_the_same_on_many_images_are_promoted() -> None:
    """L is above the margin."""
    assert _verdict(300, 30, 3) == ("promote", ("not_worse",))
    assert _verdict(5000, 2, 2) == ("promote", ("not_worse",))


def test_one_class_that_is_lost_is_seen_though_accuracy_is_the_same() -> None:
    """The student loses 20 of 100 images of one class and gains as many elsewhere: held for its recall."""
    student_NC, champion_NC, truth_N = _nets(1000, 0, 0)
    lost_N = np.flatnonzero((truth_N == 4) & (champion_NC.argmax(axis=1) == 4))[:20]
    won_N = np.flatnonzero((truth_N != 4) & (champion_NC.argmax(axis=1) != truth_N))[:20]
    for rows, label_R in ((lost_N, np.full(20, 5)), (won_N, truth_N[won_N])):
        student_NC[rows] = 0.1 / 9
        student_NC[rows, label_R] = 0.9
    found = judge(student_NC, champion_NC, truth_N, LIMITS, seed=0)
    assert found.accuracy.difference == 0
    assert (found.verdict, found.rules) == ("hold", ("recall",))
    assert [row.label for row in found.recalls if row.adjusted < 0.05] == [4]


def test_a_student_that_is_too_sure_of_itself_is_held() -> None:
    """Same answers, confidence 0.9 against 0.999 where 90 % are right; the same confidence is no reason."""
    shuffled_N = np.random.default_rng(0).permutation(1000)  # equal confidences are binned in their order
    student_NC, champion_NC, truth_N = (rows[shuffled_N] for rows in _nets(1000, 0, 0))
    sure_NC = np.where(student_NC > 0.5, 0.999, 0.001 / 9)
    found = judge(sure_NC, champion_NC, truth_N, LIMITS, seed=0)
    assert (found.verdict, found.rules) == ("hold", ("calibration",))
    assert found.calibration.student == pytest.approx(0.099, abs=1e-6)
    assert found.calibration.champion < 0.05
    assert judge(student_NC, champion_NC, truth_N, LIMITS, seed=0).verdict == "promote"
