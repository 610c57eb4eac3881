"""What a run does not show stands on the page, with the command that would; and words follow the numbers."""

from pathlib import Path
from typing import Any

import pytest

from tasks import files, report
from tasks.params import load
from tasks.sections import calibration, drift
from tests import fabricated
from tests.conftest import ROOT
from tests.reported import TITLE, Page, make


def _page() -> str:
    fabricated.run(report.report, report.PARAMS, fabricated.settings(title=TITLE))
    text = Page((files.REPORT / "report.html").read_text(encoding="utf-8")).text
    return text.split("What this run does not show")[1].split("Scoreboard")[0]


def test_what_is_open_is_said_and_what_was_done_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody audited, one seed, no gate, nothing held out; a gate that could not tell says from where on it sees."""
    monkeypatch.chdir(tmp_path)
    make(["ant", "bee"])
    text = _page()
    for said in ("understudy audit --round r2", "understudy seeds --n 5", "split.gate", "No labels were held out"):
        assert said in text
    made = {"round": "r2", "before": "r1", "champion": "r2", "promoted": True, "verdict": "cannot_tell", "n": 1200}
    made |= {"rules": [], "by": "gate", "stop": False, "holds": 0, "resolution": 0.0512}
    made["settings"] = load(ROOT / "params.yaml").gate.model_dump()
    fabricated.publish(files.champion("r2"), decision=made)
    text = _page()
    assert "1,200 images could not tell whether r2 is better" in text
    assert "from about 5.1 points on" in text
    assert "split.gate" not in text


@pytest.mark.parametrize(
    ("reference", "exact", "half"),
    [(50, True, "40 to 73"), (100, True, "71 to 94"), (399, True, "71 to 94"), (400, True, "every time")],
)
def test_a_reference_promises_no_more_than_it_found_in_trials(reference: int, exact: bool, half: str) -> None:
    """Sizes between two that were tried are given the smaller one's words; cross-fitted ones their own."""
    rows: list[dict[str, Any]] = [{"source": None, "new": False, "reference": reference, "exact": exact}]
    assert half in drift.found_by(rows)
    assert "half of the trials" in drift.found_by([rows[0] | {"exact": False}])
    assert drift.found_by([]) == ""
    others = [rows[0] | {"new": True, "reference": 2000}, rows[0] | {"source": "web", "reference": 2000}]
    assert half in drift.found_by(rows + others), "what is new and single sources have other references than the pool"
    assert drift.found_by(others) == ""


def test_calibration_in_words() -> None:
    """An interval from 0 on shows no error; another one is in points, and names the setting that would correct it."""
    row = {"round": "r1", "n": 100, "variant": "none", "read": {"ece": 0.1, "low": 0.0, "high": 0.196}}
    assert "100 held-out labels show no error in it (at most 20 points" in calibration.words(row)
    off = calibration.words(row | {"read": {"ece": 0.1, "low": 0.042, "high": 0.196}})
    assert "off by 4 to 20 points on average" in off
    assert "curate.calibration: temperature" in off
    assert "curate.calibration" not in calibration.words(
        row | {"variant": "temperature", "read": {"low": 0.1, "high": 0.2}}
    )
