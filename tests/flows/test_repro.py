"""One stage through real DVC: what came of it, read from DVC's words."""

import asyncio
from pathlib import Path

import pytest

from flows.pipeline.repro import Outcome, outcome, repro
from tests.flows.conftest import Toy


def _repro(toy: Toy, stage: str) -> tuple[Outcome, list[str]]:
    seen: list[str] = []
    return asyncio.run(repro(stage, toy.folder, seen.append)), seen


def test_a_stage_runs_then_is_unchanged_then_restored(tmp_path: Path) -> None:
    """DVC's three ways to bring a stage up to date are told apart, and its hints on git stay out of the log."""
    toy = Toy(tmp_path / "toy", {"a": ("ok", [])})
    done, lines = _repro(toy, "a")
    assert done == Outcome()
    assert "a says hello" in lines
    assert not [line for line in lines if "git add" in line]
    assert _repro(toy, "a")[0] == Outcome(skipped="Unchanged")
    (toy.folder / "dvc.lock").unlink()
    (toy.folder / "a.out").unlink()
    assert _repro(toy, "a")[0] == Outcome(skipped="Restored")


def test_a_failure_speaks_in_the_stages_own_words(tmp_path: Path) -> None:
    """Exit code and the whole message come from the stage, not from DVC's 255."""
    toy = Toy(tmp_path / "toy", {"bad": ("fail", [])})
    done, _ = _repro(toy, "bad")
    assert done == Outcome(2, "error [toy]: bad has a bad row\n  - row 7\n  fix: mend row 7")


def _failed(status: str) -> str:
    return f"ERROR: failed to reproduce 's': failed to run: python -m tasks s, exited with {status}"


@pytest.mark.parametrize("status", ["-9", "137"])
def test_a_killed_stage_can_be_tried_again(status: str) -> None:
    """DVC tells a signal as -9, a shell between as 137; both say so and are worth another try."""
    done = outcome("s", 255, ["working", _failed(status)])
    assert done.exit_code == 75
    assert "SIGKILL" in done.message


@pytest.mark.parametrize("code", [2, 3, 4, 5, 70, 75])
def test_exit_codes_are_the_stages(code: int) -> None:
    """Every code of C9 survives DVC."""
    assert outcome("s", 255, ["error [x]: y", "  fix: z", _failed(str(code))]) == Outcome(
        code, "error [x]: y\n  fix: z"
    )


def test_our_bug_names_the_exception() -> None:
    """Without a fix line the line before, the exception, is what helps."""
    lines = ["Traceback …", "ValueError: 7", "error [our_bug]: please report", _failed("70")]
    assert outcome("s", 255, lines).message == "ValueError: 7\nerror [our_bug]: please report"


def test_a_path_somebody_else_writes_is_busy() -> None:
    """DVC's own lock on paths means: try later."""
    lines = ["ERROR: failed to reproduce 's': 'a.out' is busy, it is being blocked by:", "  (PID 7): dvc repro"]
    done = outcome("s", 255, lines)
    assert done.exit_code == 75
    assert "PID 7" in done.message


def test_long_lines_and_progress_bars_are_one_line_each(tmp_path: Path) -> None:
    """Two megabytes without a line end do not stop a stage; a bar that rewrites itself leaves its last state."""
    toy = Toy(tmp_path / "toy", {"a": ("ok", [])})
    script = toy.folder / "toy.py"
    script.write_text("print('x' * 2_000_000); print('10%\\r 99%\\r100%')\n" + script.read_text())
    done, lines = _repro(toy, "a")
    assert done == Outcome()
    assert "100%" in lines
    assert max(map(len, lines)) == 10_000
