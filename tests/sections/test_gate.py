"""What the report says of the gate: every verdict in words, a loop that stopped, a net that people went back to."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks import files, report
from tasks.params import load
from tasks.sections import gate as section
from tasks.sections.material import Material
from tasks.stage import Stage
from tests import fabricated
from tests.conftest import ROOT, Project
from tests.reported import Page, make

SETTINGS = {"margin": 0.005, "recall": 0.05, "ece": 0.02, "max_holds": 2, "unsure": "promote"}
DIFFERENCE = {"n": 400, "gained": 6, "lost": 16, "difference": -0.025, "low": -0.044, "high": -0.004}
RECALLS = [
    {"class": "ant", "n": 40, "gained": 0, "lost": 9, "p_value": 0.002, "adjusted": 0.02, "is_shown": True},
    {"class": "bee", "n": 40, "gained": 1, "lost": 2, "p_value": 0.5, "adjusted": 1.0, "is_shown": False},
]


def _publish(round_: str, *rules: str, promoted: bool = False, **more: Any) -> None:
    """decision.json of a round as gate@rK writes it."""
    verdict = rules[0] if rules[0] in {"cannot_tell", "not_measured"} else "promote" if promoted else "hold"
    made = {
        "round": round_,
        "before": "r0",
        "champion": round_ if promoted else "r0",
        "promoted": promoted,
        "by": "gate",
    }
    made |= {"verdict": verdict, "rules": list(rules), "holds": int(not promoted), "stop": False, "anchor": "r0"}
    measured = {"accuracy": DIFFERENCE, "resolution": 0.038, "needed": 5900, "recalls": RECALLS, "since": DIFFERENCE}
    measured |= {"calibration": {"champion": 0.021, "student": 0.034, "low": -0.01}, "n": 400, "settings": SETTINGS}
    fabricated.publish(
        files.champion(round_),
        decision=made | (measured if verdict != "not_measured" else {"n": 0, "settings": SETTINGS}) | more,
    )


def _page() -> str:
    content = section.section(Material(Stage("report", load(), ()), ["r1", "r2"], ["digits"], {}, {}, {}))
    assert content is not None
    return re.sub(r"\s+", " ", Page(report.render("title", {"gate": content})).text)


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fabricated.settings()


def test_each_rule_is_said_in_words_with_its_numbers() -> None:
    """Held for a class: which, and how many images it lost. Held for sliding: below whom. Nothing of code."""
    _publish("r1", "recall")
    _publish("r2", "slid", "calibration")
    text = _page()
    assert "The net in use is r0." in text
    assert re.search(r"the recall of a class fell ?fell: ant \(9 lost, 0 gained of 40\)", text)
    assert "worse than r0, the last net that was shown not to be worse than its champion, the calibration error" in text
    assert "bee" not in text, "a class that did not fall is not named"
    assert re.search(r"against r0: .2\.5 \(.4\.4 to .0\.4\)", text)
    assert "0.021 → 0.034" in text
    assert not re.search(r"slid|cannot_tell|not_worse|None", text)


def test_what_could_not_be_told_names_what_would_have_been_seen() -> None:
    """The smallest loss that these images would have called worse, and how many images would show half a point."""
    _publish("r1", "cannot_tell", promoted=True)
    text = _page()
    assert "The net in use is r1." in text
    assert "promoted cannot tell" in text
    assert re.search(r"3\.8 points ?about 5,900 images would show 0\.5", text)


def test_without_images_nothing_is_claimed() -> None:
    """No number stands where nothing was measured."""
    _publish("r1", "not_measured", promoted=True)
    text = _page()
    assert "Not measured: no images are kept aside for it (split.gate), so every student is promoted." in text
    assert not re.search(r"\d points", text)


def test_who_went_back_and_who_overruled_are_named() -> None:
    """People's words stand beside what was measured."""
    word = {"who": "Ada", "why": "looked at it", "action": "promote"}
    _publish("r1", "worse", promoted=True, verdict="hold", by=word)
    rolled = {"who": "Bob", "why": "customers complain"}
    fabricated.publish(files.CHAMPION, decision={"champion": "r0", "rolled_back": rolled})
    text = _page()
    assert "Ada: looked at it (measured: hold)" in text
    assert "The net in use is r0. Bob went back to it: customers complain." in text


@pytest.mark.timeout(300)
def test_a_loop_that_stopped_is_deployed_and_reported_as_the_message_says(tmp_path: Path) -> None:
    """Two students held, r3 never labeled and `data/champion` never made: `dvc repro -s champion report` makes both,
    and the report says that the loop stopped and what did not run."""
    make(["ant", "bee"])
    shutil.rmtree(files.REPORT)
    _publish("r1", "worse")
    _publish("r2", "recall", stop=True, holds=2)
    shutil.copytree(ROOT / "tasks", "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data/decisions", "data/decisions", dirs_exist_ok=True)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, name)
    for name in ("drift", "robustness", "distilled"):
        (Path("data") / name).mkdir()
    project = Project(tmp_path)
    project.edit(lambda raw: raw["rounds"].update(r3=raw["rounds"]["r2"] | {"teacher": "r2"}))
    for command in (("git", "init", "-q", "-b", "main"), ("dvc", "init", "-q")):
        assert project.run(*command).returncode == 0
    assert project.repro("-s", "champion", "report") == ["champion", "report"]
    assert files.read_json(files.CHAMPION / "decision.json")["champion"] == "r0"
    text = re.sub(r"\s+", " ", Page((files.REPORT / "report.html").read_text()).text)
    assert "The loop stopped: too many students in a row were held; r3 did not run." in text
    assert "Teacher r0 is the champion: no student passed the gate" in text
