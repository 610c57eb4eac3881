"""The report's section on worse images: its sentences follow the intervals, and what is off is said to be."""

from pathlib import Path
from typing import Any

import pytest

from tasks import files, report
from tasks.sections import robustness
from tasks.sections.material import Material
from tasks.stage import Stage
from tests import fabricated


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _relative(low: float | None, high: float | None, value: float | None = 90.0) -> dict[str, Any]:
    each = {
        "fog": {"teacher": 0.2, "student": 0.18, "ratio": 0.9},
        "snow": {"teacher": 0, "student": 0.5, "ratio": None},
    }
    return {"value": value, "low": low, "high": high, "teacher": 0.4, "student": 0.36, "left_out": 1, "each": each}


def _attack(eps: float, verdict: str) -> dict[str, Any]:
    gain = {"points": 4.0, "low": 2.0, "high": 6.0, "verdict": verdict, "p_value": 0.01, "gained": 5, "lost": 1}
    return {"eps": eps, "teacher": 0.3, "student": 0.34, "gain": gain}


def _publish(round_: str, value: dict[str, Any] | None) -> None:
    rows = "0,0.9,0.92\n5,0.4,0.5\n" if value else ""
    fabricated.publish(
        files.robustness(round_),
        robustness=value,
        severity__csv="severity,teacher,student\n" + rows,
        attacks__csv="eps,teacher,student\n" + rows,
    )


def _measured(**changes: Any) -> dict[str, Any]:
    value = {"teacher": "r1", "student": "r2", "images": 500, "clean": {"teacher": 0.9, "student": 0.92}}
    value |= {"mce": _relative(80, 99), "mfr": _relative(70, 120), "frames": 3, "pgd_steps": 10}
    return value | {"fgsm": [_attack(2, "better")], "pgd": [_attack(2, "better"), _attack(8, "within noise")]} | changes


def _run() -> Material:
    stage = Stage("report", fabricated.settings(), report.PARAMS)
    return Material(stage, ["r1", "r2"], ["digits"], {}, {}, {})


def _html() -> str:
    return report.render("t", {"robustness": robustness.section(_run())})


def test_what_is_off_is_said_to_be_not_measured() -> None:
    """Neither a missing artefact nor one that says null makes a number; the setting to change is named."""
    _publish("r1", None)
    html = _html()
    assert "Not measured" in html
    assert "robustness.images" in html
    assert "mCE" not in html


def test_the_words_follow_the_intervals() -> None:
    """Below 100: fewer; above: more; with 100 inside: within noise, whatever the value itself says."""
    _publish("r1", None), _publish("r2", _measured(mce=_relative(80, 99), mfr=_relative(70, 120)))
    words = " ".join(robustness.section(_run())["verdicts"])
    assert "mCE 90.0 (95 % interval 80.0 to 99.0; 100 is the teacher): fewer errors." in words
    assert "mFR 90.0 (95 % interval 70.0 to 120.0; 100 is the teacher): within noise." in words
    assert "PGD with 10 steps and eps 8 of 255" in words
    assert "within noise)." in words
    _publish("r2", _measured(mce=_relative(101, 120), mfr=_relative(None, None, None), pgd=[], fgsm=[]))
    words = " ".join(robustness.section(_run())["verdicts"])
    assert "more errors." in words
    assert "mFR is undefined: the teacher has no flips." in words
    assert "Attacks" not in words


def test_the_page_shows_every_round_and_corruption() -> None:
    """A row a round, the last one's corruptions, both charts, and plots for DVC of both rounds."""
    _publish("r1", _measured(teacher="r0", student="r1")), _publish("r2", _measured())
    html = _html()
    for text in ("Worse images", "fog", "snow", "Each small shift", "robust-severity", "robust-attacks", "500"):
        assert text in html, text
    found = [(kind, round_) for kind, round_, path in robustness.plots(_run()) if path.is_file()]
    assert found == [("severity", "r1"), ("attacks", "r1"), ("severity", "r2"), ("attacks", "r2")]


def test_what_was_not_tested_has_no_chart() -> None:
    """Corruptions alone: no sentence and no chart about attacks and shifts."""
    _publish("r2", _measured(mfr=None, pgd=[], fgsm=[]))
    content = robustness.section(_run())
    assert (content["attacks"], content["shifts"], len(content["verdicts"])) == (None, [], 1)
    assert "robust-attacks" not in report.render("t", {"robustness": content})
