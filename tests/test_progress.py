"""Progress in a log: silent for short work, a line now and then for long work."""

import time

import pytest

from flows.pipeline.repro import environment
from tasks.progress import LINES, Progress


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Work under fifteen seconds leaves a log alone."""
    with Progress(10, "label@r1", "images") as work:
        for _ in range(10):
            work.advance(1)
    assert work.done == 10
    assert capsys.readouterr().out == ""


def test_long_work_says_rate_and_time_left(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A line has what, how far, how fast and how long still; the rate counts only what this run did."""
    now = [100.0]
    monkeypatch.setenv(LINES, "1")
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Progress(40_000, "label@r1", "images", done=10_000) as work:
        for _ in range(30):
            now[0] += 1
            work.advance(1_000, "loss 0.412")
    assert capsys.readouterr().out.splitlines() == [
        "label@r1: 25,000 of 40,000 images, 1,000/s, loss 0.412, 15 s left",
        "label@r1: 30,000 images in 30 s",
    ]


def test_a_log_that_nobody_asked_lines_for_is_left_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvc repro > log`: how long it took, at the end."""
    now = [100.0]
    monkeypatch.delenv(LINES, raising=False)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Progress(40_000, "label@r1", "images") as work:
        for _ in range(40):
            now[0] += 1
            work.advance(1_000)
    assert capsys.readouterr().out.splitlines() == ["label@r1: 40,000 images in 40 s"]


def test_a_failure_is_not_reported_as_done(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """When the work raises, the last line is not a success."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def work() -> None:
        with Progress(10, "label@r1", "images"):
            now[0] += 99
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        work()
    assert capsys.readouterr().out == ""


def test_a_run_in_prefect_asks_its_stages_for_lines() -> None:
    """Its page draws a bar from them (flows/story.py)."""
    assert LINES in environment()
