"""New images under `understudy serve` with the project's own stages: a training that is due, and nothing new.

No browser: the server is asked as its pages ask it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tests.flows.conftest import UNDERSTUDY, eventually
from tests.images.workspace import picture, write_all
from tests.ui.serving import Serving

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def serving(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A finished project, served."""
    project = finished_project.copy(tmp_path_factory.mktemp("serving").resolve() / "project")
    project.edit(lambda raw: raw["drift"].update(action="report"))
    made = Serving(project)
    yield made
    made.close()


def test_a_training_that_is_due_is_told_and_started_only_where_the_settings_say_so(serving: Serving) -> None:
    """`relabel.retrain: ask` tells somebody; `grown` starts the training too, which learns from the new images. Nothing
    new is a run of seconds."""
    project = serving.project
    _grow(project, range(13), "ask")
    before = len(_trainings(serving))
    run = serving.begin("relabel")
    assert "13 images predicted" in serving.ends(run, "TrainingDue")["message"]
    assert "a training is due" in serving.alert("training due", run)["message"]
    assert len(_trainings(serving)) == before

    _grow(project, range(13, 16), "grown")
    run = serving.begin("relabel")
    assert "3 images predicted" in serving.ends(run, "TrainingDue")["message"]
    assert len(_trainings(serving)) == before + 1
    training = _trainings(serving)[-1]["id"]
    serving.ends(training, "Completed")
    assert serving.server.tasks(training)["student@r1"] == "Completed"

    run = serving.begin("relabel")
    serving.ends(run, "Nothingnew")
    took = serving.server.get(f"flow_runs/{run}")["total_run_time"]
    print(f"nothing new: {took:.1f} s")
    assert took < 30


def test_a_worker_in_a_fresh_clone_takes_the_runs(serving: Serving, tmp_path: Path) -> None:
    """As docs/operations.md tells: clone, `dvc pull`, the worker with address and token. The deployments are that
    folder's from then on: its labels are up to date as they came. Its first new images cost the whole pool once, for
    what was predicted lies in `.work` of the first folder."""
    first, clone = serving.project, Project(tmp_path.resolve() / "project-2")
    me = {f"GIT_{who}_{what}": "ada" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    first.env |= me
    for command in (
        (UNDERSTUDY, "relabel"),
        ("dvc", "remote", "add", "-d", "shared", str(tmp_path / "remote")),
        ("git", "add", "-A"),
        ("git", "commit", "-qm", "all"),
        ("dvc", "push", "-q"),
        ("git", "clone", "-q", str(first.folder), str(clone.folder)),
    ):
        done = first.run(*command)
        assert done.returncode == 0, done.stderr
    clone.env |= serving.server.env
    done = clone.run("dvc", "pull", "-q")
    assert done.returncode == 0, done.stderr
    worker = clone.start("python", "-m", "flows.serving.worker")
    try:
        assert worker.stdout is not None
        assert any("started!" in line for line in worker.stdout)
        serving.ends(serving.begin("relabel"), "Nothingnew")
        _grow(clone, range(16, 18), "ask")
        said = serving.ends(serving.begin("relabel"), "TrainingDue")["message"]
        assert re.match(r"r\d: (\d+) images predicted by r\d, \1 in the pool", said), said
        assert first.run("git", "status", "--short").stdout == ""
    finally:
        worker.terminate()
        worker.communicate(timeout=60)
    eventually(lambda: clone.alive() == [])  # the other worker may have taken that run, which says its last words


def _grow(project: Project, numbers: range, retrain: str) -> None:
    """New images in a source of their own, few of which make a training due."""

    def change(raw: dict[str, Any]) -> None:
        raw["sources"]["more"] = {"kind": "folder", "path": "more", "layout": "pool"}
        raw["relabel"].update(retrain=retrain, grown=0.001)

    write_all(project.folder / "more", {f"{n}.png": picture(n) for n in numbers})
    project.edit(change)


def _trainings(serving: Serving) -> list[dict[str, Any]]:
    """All runs of the deployment self-training, oldest first."""
    asked = {"flows": {"name": {"any_": ["self-training"]}}, "sort": "EXPECTED_START_TIME_ASC"}
    found: list[dict[str, Any]] = serving.server.post("flow_runs/filter", asked)
    return found
