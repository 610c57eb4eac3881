"""What runs when something changes, asserted through real DVC."""

import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from tasks import files
from tests.conftest import ROOT, Project

ROUND_STAGES = ("label", "curate", "drift", "student", "gate", "evaluate", "robustness")


def test_first_run_executes_every_stage_once_and_a_second_none(project: Project) -> None:
    """Nothing to do means nothing done, in at most five seconds on an idle machine (ten here)."""
    start = time.monotonic()
    assert project.repro() == []
    assert time.monotonic() - start < 10


def test_a_new_round_is_one_entry_and_runs_only_its_stages(project: Project) -> None:
    """Adding r3 runs r3's own stages and the report, nothing before."""

    def add(settings: dict[str, Any]) -> None:
        settings["rounds"]["r3"] = deepcopy(settings["rounds"]["r2"]) | {"teacher": "r2"}

    project.edit(add)
    ran = project.repro()
    assert sorted(ran[:-1]) == sorted(["champion", *(f"{stage}@r3" for stage in ROUND_STAGES)])
    assert ran[-1] == "report"


def test_a_threshold_reruns_its_curate_and_what_follows(project: Project) -> None:
    """Changing r2's threshold leaves r1 and label@r2 alone."""
    project.edit(lambda settings: settings["rounds"]["r2"]["curate"].update(threshold=0.05))
    ran = project.repro()
    assert (ran[:3], ran[-1]) == (["curate@r2", "drift@r2", "student@r2"], "report")
    assert set(ran[3:-1]) == {"evaluate@r2", "gate@r2", "robustness@r2", "champion"}


def test_a_limit_that_only_stops_trains_nothing_again(project: Project) -> None:
    """Other values of hold.* are checked by curate alone: its tables stay the same bytes, no student learns anew."""
    project.edit(lambda settings: settings["hold"].update(min_classes=0.1, starvation=False))
    assert project.repro() == ["curate@r1", "curate@r2"]


def test_an_unrelated_key_reruns_nothing(project: Project) -> None:
    """Settings of the flow, the review and the cache change no result, so they run no stage."""
    project.edit(lambda settings: settings["cache"].update(max_gb=0))
    project.edit(lambda settings: settings["run"].update(retries=3))
    project.edit(lambda settings: settings["review"].update(limit=10))
    assert project.repro() == []


def test_going_back_restores_instead_of_computing(project: Project) -> None:
    """The run-cache brings an earlier result back."""
    project.edit(lambda settings: settings["report"].update(title="Other"))
    assert project.repro() == ["report"]
    project.edit(lambda settings: settings["report"].update(title="Handwritten digits"))
    assert project.repro() == []


def test_only_evaluate_and_robustness_read_what_is_sealed() -> None:
    """Test labels and hidden truth are an input of these two, and what they write is one of the report alone."""
    stages = yaml.load((ROOT / "dvc.yaml").read_text(), yaml.CSafeLoader)["stages"]
    for name, stage in stages.items():
        body = stage.get("do", stage)
        reads_sealed = any(dep in ("data", "data/sealed") for dep in body["deps"])
        assert reads_sealed == (name in {"evaluate", "robustness"}), name
        assert name == "report" or not any(dep.startswith(("data/scores", "data/robustness")) for dep in body["deps"])


def test_reasons_add_up_to_the_pool(finished_project: Project) -> None:
    """Every pool image has exactly one reason in every round (C7)."""
    data = finished_project.folder / "data"
    pool = files.read_table(data / "split/pool.parquet")["image_id"].to_pylist()
    for round_ in ("r0", "r1", "r2"):
        table = files.read_table(data / f"labels/{round_}/labels.parquet")
        assert table["image_id"].to_pylist() == pool
        assert table["reason"].null_count == 0


def test_two_clean_runs_give_the_same_bytes(finished_project: Project, fresh_project: Project, tmp_path: Path) -> None:
    """Determinism (C6): the same inputs and settings give identical artefacts in another folder."""
    again = fresh_project.copy(tmp_path / "again")
    again.repro("student@r1")
    for name in (
        "images/digits",
        "catalog/digits",
        "split",
        "sealed",
        "test_ids",
        "models/r0",
        "probs/r1",
        "labels/r1",
        "models/r1",
    ):
        expected = files.manifest_hash(finished_project.folder / "data" / name)
        assert files.manifest_hash(again.folder / "data" / name) == expected, name
