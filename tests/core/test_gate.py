"""The rules of the gate: what they promise, counted over every possible outcome, and what they say of planted nets."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.compare import holm, mcnemar_fall, paired_interval
from tasks.core.gate import FALL_RISK, LEVEL, Limits, judge, recall_falls, resolution

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


@pytest.mark.parametrize("differing", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("classes", [1, 10])
def test_a_class_is_rarely_called_fallen_where_none_fell(differing: float, classes: int) -> None:
    """Over all outcomes of 40 images of each class, Holm's first step among 10 classes included, in at most 1 %."""
    one = sum(
        p
        for p, gained, lost in _outcomes(40, differing / 2, differing / 2)
        if mcnemar_fall(gained, lost) < FALL_RISK / classes
    )
    assert 1 - (1 - one) ** classes <= FALL_RISK


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_p_value_of_a_fall_is_a_binomial_sum(gained: int, lost: int) -> None:
    """How likely at least as many of the differing images are losses when each is one with a chance of one half."""
    n = gained + lost
    slow = sum(math.comb(n, k) for k in range(lost, n + 1)) / 2**n
    assert mcnemar_fall(gained, lost) == pytest.approx(slow)


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
    assert [row.label for row in found.recalls if row.is_shown] == [4]


def test_a_fall_within_what_is_allowed_is_shown_and_passes() -> None:
    """Of 400 images of a class 14 are lost: 3.5 points, certainly a fall, and less than the 5 that may be lost."""
    truth_N = np.repeat([0, 1], 400)
    old_N, new_N = np.ones(800, bool), np.ones(800, bool)
    new_N[:14] = False
    row = recall_falls(new_N, old_N, truth_N)[0]
    assert (row.lost, row.gained, row.adjusted < 0.001) == (14, 0, True)
    assert not row.fell_by_more(0.05)
    assert row.fell_by_more(0.03)


def _of_hits(hit_N: np.ndarray, truth_N: np.ndarray) -> np.ndarray:
    """Probabilities of a net that is right on these images and says the next of 10 classes on the others."""
    prob_NC = np.full((len(truth_N), 10), 0.1 / 9)
    prob_NC[np.arange(len(truth_N)), (truth_N + ~hit_N) % 10] = 0.9
    return prob_NC


def test_losses_too_small_to_be_seen_add_up_and_are_seen() -> None:
    """Champion and student each lost 8 and gained 3 of 400 images: neither step can be told from none, both together
    can. With no anchor the student would go on to label."""
    truth_N = np.random.default_rng(0).permutation(np.arange(400) % 10)
    anchor_N, champion_N, student_N = (np.arange(400) < 360 for _ in range(3))
    champion_N[:8] = student_N[:16] = False
    champion_N[360:363] = student_N[360:366] = True
    limits = Limits(margin=0.005, recall=0.05, ece=0.02)
    both = _of_hits(student_N, truth_N), _of_hits(champion_N, truth_N), truth_N, limits
    assert judge(*both, seed=0).verdict == "cannot_tell"
    found = judge(*both, seed=0, anchor_hit_N=anchor_N)
    assert (found.verdict, found.rules) == ("hold", ("slid",))
    assert found.since is not None
    assert (found.since.lost, found.since.gained) == (16, 6)
    first = judge(_of_hits(champion_N, truth_N), _of_hits(anchor_N, truth_N), truth_N, limits, seed=0)
    assert first.verdict == "cannot_tell"


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
