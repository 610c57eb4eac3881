"""The report's section on calibration and thresholds, from stored artefacts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tasks import files, report
from tasks.params import load
from tasks.sections import calibration
from tasks.sections.material import Material
from tasks.stage import Stage
from tests import fabricated

CLASSES = ["ant", "<bee>"]


def _material(**curate: Any) -> Material:
    """One round whose teacher was asked about 80 held-out labels and said 0.9 of each, three in four right."""
    fabricated.settings()
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    raw["rounds"] = {"r1": raw["rounds"]["r1"]}
    raw["split"]["calib"] = 80
    raw["rounds"]["r1"]["curate"] |= curate
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    answers = {f"{n:064x}": [0.9, 0.1] if n % 2 else [0.1, 0.9] for n in range(80)}
    given = {i: CLASSES[0 if (n % 2) != (n // 2 % 4 == 0) else 1] for n, i in enumerate(answers)}
    fabricated.answers("r0", CLASSES, answers, given)
    fabricated.publish(files.scores("r1"), reliability__csv="confidence,accuracy,n\n")
    scores: dict[str, Any] = {"classes": CLASSES}
    return Material(Stage("report", load(), report.PARAMS), ["r1"], ["digits"], {"r1": scores}, {}, {})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own."""
    monkeypatch.chdir(tmp_path)


def test_before_and_after_and_what_each_class_lacks() -> None:
    """Both errors with their intervals, two diagrams, and a row a class with what it still needs; names are escaped."""
    run = _material(calibration="temperature", target_precision=0.95)
    row: dict[str, Any] = {"n": 40, "right": 30, "precision": 0.75, "low": 0.612}
    rows = {
        "ant": row | {"threshold": None, "reached": False, "needed": None},
        "<bee>": row | {"threshold": 0.912, "reached": True, "needed": None},
    }
    table: dict[str, Any] = {"how": "target_precision", "target": 0.95, "held_out": 80, "classes": rows}
    fabricated.publish(files.labels("r1"), thresholds=table)
    found = calibration.section(run)
    assert found
    (teacher,) = found["teachers"]
    assert 0.15 <= teacher["raw"]["ece"] < 0.25
    assert teacher["read"]["ece"] < teacher["raw"]["ece"]
    assert teacher["temperature"] > 1
    assert [title for title, _ in found["corrected"]] == ["As it said it", "With a temperature"]
    page = report.render("t", {"calibration": found})
    assert "each class is shown to be 95.0" in page
    assert "not learnt" in page
    assert "a better teacher" in page
    assert "&lt;bee&gt;" in page
    assert "<bee>" not in page
    assert page.count("<svg") == 2
    ids = [part.split('"')[0] for part in page.split(' id="')[1:]]
    assert len(ids) == len(set(ids)), "two diagrams with the same ids show each other's marks"


def test_nothing_held_out_is_said_and_not_drawn() -> None:
    """Not measured, never 0; without test images, teachers and thresholds the section stays away."""
    run = _material()
    fabricated.answers("r0", CLASSES, {}, {})
    found = calibration.section(run)
    assert found
    assert found["corrected"] == []
    page = report.render("t", {"calibration": found})
    assert "nothing held out" in page
    assert page.count("not measured") == 2
    Path("data/champions").rename("elsewhere")
    assert calibration.section(run) is None


def test_a_half_and_half_reading_is_the_interval_of_the_files() -> None:
    """What the page shows is calibration.json's, to the digit."""
    run = _material(calibration="per_class")
    stored = files.read_json(files.champion("r0") / "calibration.json")
    found = calibration.section(run)
    assert found
    assert found["teachers"][0]["read"] == stored["ece"]["per_class"]
    assert np.isclose(found["teachers"][0]["temperature"], stored["temperature"])
