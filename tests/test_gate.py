"""The gate as a stage: who labels next, whose word counts, what is not measured, and when the loop stops."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tasks import champion as deployed
from tasks import files, held, label
from tasks import gate as module
from tasks.champions import ANCHOR, crown
from tasks.errors import Held, Integrity
from tasks.params import load
from tasks.stage import Stage
from tests import fabricated
from tests.conftest import ROOT
from tests.gated import Case


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.chdir(tmp_path)
    return Case()


def _key(folder: Path) -> str:
    key: str = files.read_json(folder / "card.json")["key"]
    return key


def test_a_better_student_takes_the_place_and_a_worse_one_does_not(case: Case) -> None:
    """With truth as the student sees it, its files are the champion's; with truth as the champion sees it, the old ones
    stay, byte for byte, and the round after asks them."""
    assert case.said("r0") != case.said("r1")
    made = case.run("r1", case.said("r1"))
    assert (made["verdict"], made["promoted"], made["champion"], made["before"]) == ("promote", True, "r1", "r0")
    assert files.net_hash(files.champion("r1")) == files.net_hash(files.model("r1"))
    made = case.run("r1", case.said("r0"))
    assert (made["verdict"], made["promoted"], made["champion"], made["holds"]) == ("hold", False, "r0", 1)
    assert "worse" in made["rules"]
    assert files.net_hash(files.champion("r1")) == files.net_hash(files.champion("r0"))
    assert (files.champion("r1") / held.CALIBRATION).read_bytes() == (files.model("r0") / held.CALIBRATION).read_bytes()


def test_the_loop_stops_after_two_holds_in_a_row(case: Case) -> None:
    """label@r3 is held with exit 4 and says what to do; a promotion in between counts from the beginning."""
    truth = case.said("r0")
    case.run("r1", truth)
    made = case.run("r2", truth)
    assert (made["holds"], made["stop"], made["champion"]) == (2, True, "r0")
    assert [row["round"] for row in made["history"]] == ["r0", "r1"]
    raw = case.settings.model_dump()
    raw["rounds"]["r3"] = raw["rounds"]["r2"] | {"teacher": "r2"}
    settings = type(case.settings).model_validate(raw)
    with pytest.raises(Held, match=r"last 2 rounds were held .* still is r0") as error:
        fabricated.run(label.label, ["image"], settings, "r3")
    assert error.value.code == "loop_stopped"
    assert "dvc repro -s champion report" in error.value.fix
    assert error.value.exit_code == 4
    assert not files.probs("r3").exists()
    case.run("r1", case.said("r1"))
    assert case.run("r2", case.said("r1"))["holds"] == 1


def test_people_overrule_the_gate_and_are_named(case: Case) -> None:
    """A row for the round decides; what was measured is kept; a hold by people does not stop the loop."""
    case.words("promote,r1,,ada,2026-01-01T00:00:00Z,looks right to me\n")
    made = case.run("r1", case.said("r0"))
    assert (made["promoted"], made["verdict"], made["by"]["who"]) == (True, "hold", "ada")
    case.words("hold,r1,,ada,2026-01-01T00:00:00Z,not before the audit\n")
    made = case.run("r1", case.said("r1"))
    assert (made["promoted"], made["verdict"], made["holds"]) == (False, "promote", 0)


def test_without_images_nothing_is_measured_and_the_loop_goes_on(case: Case) -> None:
    """The decision says so, with no number in it."""
    made = case.run("r1", {})
    assert (made["verdict"], made["promoted"], made["n"]) == ("not_measured", True, 0)
    assert "accuracy" not in made


def test_what_cannot_be_told_goes_as_the_settings_say(case: Case) -> None:
    """On four images nothing is shown either way: unsure decides, and the smallest visible loss is named."""
    few = dict(list(case.said("r0").items())[:4])
    made = case.run("r1", few)
    assert (made["verdict"], made["promoted"]) == ("cannot_tell", True)
    assert made["resolution"] > 0.5
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    raw["gate"]["unsure"] = "hold"
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    case.settings = load()
    assert case.run("r1", few)["promoted"] is False


def test_the_anchor_is_the_last_net_that_was_shown_not_to_be_worse(case: Case) -> None:
    """r1 is promoted though nothing can be told on four images: r0 stays the anchor, with its answers beside r1's net.
    r2 is compared with both; promoted by a person, it is its own anchor."""
    few = dict(list(case.said("r0").items())[:4])
    made = case.run("r1", few)
    assert (made["promoted"], made["anchor"], made["since"]) == (True, "r0", None)
    table = files.read_table(files.champion("r1") / ANCHOR)
    assert table["image_id"].to_pylist() == sorted(few)
    assert table["right"].to_pylist() == [True] * 4
    made = case.run("r2", few)
    assert made["since"]["n"] == 4
    assert (made["anchor"], made["since"]["gained"]) == ("r0", 0)
    case.words("promote,r2,,ada,2026-01-01T00:00:00Z,looked at it\n")
    made = case.run("r2", few)
    assert (made["champion"], made["anchor"]) == ("r2", "r2")
    assert not (files.champion("r2") / ANCHOR).exists()


def test_a_student_as_good_as_its_champion_may_be_below_the_anchor(case: Case) -> None:
    """r1 came in by `unsure`; of the images on which it and r2 differ each is right on half, and r0 on all: r2 is held,
    and the words say against whom."""
    old, new = case.said("r1"), case.said("r2")
    differ = [i for i in old if old[i] != new[i]]
    truth = old | {i: new[i] for i in differ[::2]}
    case.run("r1", dict(list(truth.items())[:4]))
    stage = Stage("gate@r1", case.settings, [])
    table = fabricated.pa.table({"image_id": sorted(truth), "right": [True] * len(truth)})
    made = files.read_json(files.champion("r1") / "decision.json")
    crown(stage, files.model("r1"), files.champion("r1"), made | {"promoted": True, "champion": "r1"}, table)
    stage.publish()
    made = case.run("r2", truth)
    assert (made["rules"], made["promoted"], made["champion"], made["anchor"]) == (["slid"], False, "r1", "r0")
    assert made["since"]["lost"] == len(differ[1::2]) >= 5
    assert "below r0, the last net that was shown not to be worse" in module.said(made)


def test_a_gate_image_that_was_learnt_from_is_an_integrity_error(case: Case) -> None:
    """It is named, and nobody is promoted."""
    with pytest.raises(Integrity, match=case.ids[30]) as error:
        case.run("r1", case.said("r1"), learnt=case.ids[30])
    assert (error.value.code, error.value.exit_code) == ("leaked_gate", 5)
    assert not files.champion("r1").exists()


def test_a_decision_that_comes_out_the_same_is_the_same_bytes(case: Case) -> None:
    """A row about another round changes nothing: what follows from the champion does not run again."""
    case.run("r1", case.said("r1"))
    before = files.manifest_hash(files.champion("r1"))
    case.words("hold,r2,,ada,2026-01-01T00:00:00Z,why\n")
    case.run("r1", case.said("r1"))
    assert files.manifest_hash(files.champion("r1")) == before


def test_the_deployed_net_is_the_last_champion_or_the_one_people_went_back_to(case: Case) -> None:
    """data/champion follows the last round; a rollback takes it back, and names who and why."""
    case.run("r1", case.said("r1"))
    case.run("r2", case.said("r2"))
    fabricated.run(deployed.champion, deployed.PARAMS, case.settings)
    assert _key(files.CHAMPION) == "r2"
    case.words("rollback,r1,r2,ada,2026-01-01T00:00:00Z,customers complain\n")
    fabricated.run(deployed.champion, deployed.PARAMS, case.settings)
    assert _key(files.CHAMPION) == "r1"
    made = files.read_json(files.CHAMPION / "decision.json")
    assert (made["champion"], made["rolled_back"]["why"]) == ("r1", "customers complain")


def test_the_gate_imports_no_torch_before_it_needs_one() -> None:
    """Without gate images it costs what a small stage costs."""
    code = "import sys, tasks.gate, tasks.champion; print(*{'torch', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
