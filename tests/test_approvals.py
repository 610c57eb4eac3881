"""`approval: manual`: who waits for a person, whose word counts, and what a word may change."""

import shutil
from pathlib import Path

import pytest
import yaml

from flows.approve import approve, waiting
from tasks import approvals, files, yaml_file
from tasks.approvals import Answer
from tasks.errors import Held, UserError
from tasks.params import PARAMS_FILE, load
from tests.gated import Case

COMMENTED = "rounds:  # two\n  r1:\n    curate: {threshold: 0.6}\n  r2:\n    curate:\n      threshold: 0.60  # high\n"


@pytest.fixture
def manual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Finished students r1 and r2, nobody approved yet."""
    monkeypatch.chdir(tmp_path)
    case = Case()
    set_to(case, "approval", "manual")
    return case


def set_to(case: Case, key: str, value: object) -> None:
    """Change a setting at the top of params.yaml."""
    raw = yaml.load(PARAMS_FILE.read_text(), yaml.CSafeLoader)
    PARAMS_FILE.write_text(yaml.dump(raw | {key: value}, Dumper=yaml.CSafeDumper, sort_keys=False))
    case.settings = load()


def test_a_better_student_waits_until_somebody_promotes_it(manual: Case) -> None:
    """Exit 4 with the command to type, and no champion; with the row the same stage promotes and says who did; the row
    is about this very net: another student of the round waits again."""
    with pytest.raises(Held, match=r"not_worse.*r0 stays champion") as error:
        manual.run("r1", manual.said("r1"))
    assert error.value.exit_code == 4
    assert "understudy approve r1 --promote" in error.value.fix
    assert not files.champion("r1").exists()
    assert waiting(manual.settings) == ["r1"]
    approve(manual.settings, "r1", "promote", None, "ada", "looked at 200 labels")
    with pytest.raises(UserError, match="somebody decided already"):
        approve(manual.settings, "r1", "hold", None, "bob", "late")
    made = manual.run("r1", manual.said("r1"))
    assert (made["promoted"], made["champion"], made["verdict"]) == (True, "r1", "promote")
    assert made["by"]["who"] == "ada"
    assert waiting(manual.settings) == []
    shutil.rmtree(files.model("r1"))
    shutil.copytree(files.model("r2"), files.model("r1"))
    with pytest.raises(Held, match="nobody decided"):
        manual.run("r1", manual.said("r2"))


def test_a_person_may_hold_what_the_gate_would_promote(manual: Case) -> None:
    """The champion stays; a hold by people does not stop the loop; the last word about a net counts."""
    with pytest.raises(Held):
        manual.run("r1", manual.said("r1"))
    approve(manual.settings, "r1", "hold", None, "ada", "not before the audit")
    made = manual.run("r1", manual.said("r1"))
    assert (made["promoted"], made["champion"], made["holds"]) == (False, "r0", 0)
    rows = approvals.read(files.APPROVALS)
    approvals.append(files.APPROVALS, Answer("r1", rows[0].student, "promote", "", "bob", "later", "audited"))
    assert manual.run("r1", manual.said("r1"))["champion"] == "r1"


def test_who_is_shown_worse_is_held_without_asking_and_auto_asks_nobody(manual: Case) -> None:
    """Statistics still hold; what cannot be told waits for a person, as does what was never measured."""
    assert manual.run("r1", manual.said("r0"))["champion"] == "r0"
    few = dict(list(manual.said("r0").items())[:4])
    for gate in (few, {}):
        with pytest.raises(Held, match="nobody decided"):
            manual.run("r1", gate)
    set_to(manual, "approval", "auto")
    assert manual.run("r1", few)["champion"] == "r1"


def test_a_threshold_is_set_for_the_next_labels_and_nothing_else_changes(manual: Case) -> None:
    """params.yaml, where r1 teaches r2; the row says so too."""
    with pytest.raises(Held):
        manual.run("r1", manual.said("r1"))
    said = approve(manual.settings, "r1", "promote", 0.75, "ada", "fewer, better")
    assert "params.yaml: rounds.r2.curate.threshold 0.6 is now 0.75" in said
    wanted = manual.settings.model_dump()
    wanted["rounds"]["r2"]["curate"]["threshold"] = 0.75
    assert load().model_dump() == wanted
    assert approvals.read(files.APPROVALS)[0].threshold == "0.75"
    assert not list(files.WORK.glob("params*"))


@pytest.mark.parametrize(
    ("round_", "action", "threshold", "why", "code"),
    [
        ("r1", "promote", 1.7, "why", "bad_settings"),
        ("r1", "maybe", None, "why", "unknown_action"),
        ("r1", "promote", None, "  ", "no_reason"),
        ("r2", "promote", None, "why", "not_waiting"),
        ("r9", "promote", None, "why", "not_waiting"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    manual: Case, round_: str, action: str, threshold: float | None, why: str, code: str
) -> None:
    """Neither the ledger nor params.yaml changes."""
    with pytest.raises(Held):
        manual.run("r1", manual.said("r1"))
    before = PARAMS_FILE.read_bytes(), files.APPROVALS.read_bytes()
    with pytest.raises(UserError) as error:
        approve(manual.settings, round_, action, threshold, "ada", why)
    assert error.value.code == code
    assert (PARAMS_FILE.read_bytes(), files.APPROVALS.read_bytes()) == before


def test_a_threshold_that_would_do_nothing_is_refused(manual: Case) -> None:
    """No next round, a round that promises a precision, a threshold that other rounds share by an alias."""
    for round_ in ("r1", "r2"):
        approvals.ask({"round": round_, "before": "r0"}, files.net_hash(files.model(round_)), "")

    def refused(round_: str) -> str:
        with pytest.raises(UserError) as error:
            approve(load(), round_, "promote", 0.7, "ada", "why")
        return error.value.code

    assert refused("r2") == "no_next_labels"
    raw = yaml.load(PARAMS_FILE.read_text(), yaml.CSafeLoader)
    raw["rounds"]["r2"]["curate"] = raw["rounds"]["r1"]["curate"]
    PARAMS_FILE.write_text(yaml.dump(raw, sort_keys=False))
    assert "*id" in PARAMS_FILE.read_text()
    assert refused("r1") == "shared_threshold"
    raw["rounds"]["r2"]["curate"] = raw["rounds"]["r1"]["curate"] | {"target_precision": 0.9}
    raw["split"]["calib"] = 10
    PARAMS_FILE.write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    assert refused("r1") == "threshold_unused"


def test_a_value_is_replaced_where_it_stands() -> None:
    """Comments, order and every other byte stay."""
    found = yaml_file.with_value(COMMENTED, ["rounds", "r2", "curate", "threshold"], "0.7")
    assert found == COMMENTED.replace("0.60", "0.7")
    found = yaml_file.with_value(COMMENTED, ["rounds", "r1", "curate", "threshold"], "0.7")
    assert found == COMMENTED.replace("0.6}", "0.7}")
