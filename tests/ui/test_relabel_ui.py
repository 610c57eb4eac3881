"""`understudy relabel` on real stages: it costs what is new, trains nothing, and says what is out of date."""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from tasks import files
from tests.conftest import Project
from tests.flows.conftest import UNDERSTUDY
from tests.images.workspace import picture, write_all

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def _state(project: Project) -> dict[str, Any]:
    """Bytes and times of all artefacts, and of what DVC and git keep."""
    found = {}
    for path in sorted([*(project.folder / "data").rglob("*"), project.folder / "dvc.lock"]):
        if path.is_file():
            found[str(path)] = (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def _trained(project: Project) -> dict[str, str]:
    return {name: files.net_hash(project.folder / files.model(name)) for name in ("r0", "r1", "r2", "baseline")}


def test_new_images_cost_their_predictions_and_no_training(project: Project, tmp_path: Path) -> None:
    """13 new images, 13 predictions, pushed to the remote; all nets stay; the run says what a training would redo and
    that it is due; nothing new changes nothing; a wish for another split is refused."""
    remote = tmp_path / "remote"
    assert project.run("dvc", "remote", "add", "-d", "shared", str(remote)).returncode == 0
    write_all(project.folder / "more", {f"{n}.png": picture(n) for n in range(13)})

    def change(raw: dict[str, Any]) -> None:
        raw["sources"]["more"] = {"kind": "folder", "path": "more", "layout": "pool"}
        raw["drift"].update(action="report")
        raw["relabel"].update(retrain="ask", grown=0.001, commit=True)

    project.edit(change)
    project.env |= {f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for command in (("git", "add", "-A"), ("git", "commit", "-qm", "all")):
        assert project.run(*command).returncode == 0
    nets, lock = _trained(project), (project.folder / "dvc.lock").read_text()
    done = project.run(UNDERSTUDY, "relabel")
    assert done.returncode == 0, done.stdout + done.stderr
    made = re.search(r"(r\d:) 13 images predicted by r\d, \d+ in the pool", done.stdout)
    assert made, done.stdout
    assert "`understudy run` would train student@r1, student@r2 anew" in done.stdout
    assert "a training is due" in done.stdout
    assert "pushed to shared" in done.stdout
    assert _trained(project) == nets
    assert (project.folder / "dvc.lock").read_text() != lock
    assert project.run("git", "log", "-1", "--format=%s", "--name-only").stdout.split() == [
        *("relabel", made.group(1), "13", "new", "images", "dvc.lock")
    ]
    shards = files.parts(project.folder / "data/images/more")
    md5 = hashlib.md5(shards[0].read_bytes(), usedforsecurity=False).hexdigest()
    assert (remote / "files/md5" / md5[:2] / md5[2:]).is_file()

    before = _state(project)
    done = project.run(UNDERSTUDY, "relabel")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stdout
    assert "nothing new" in done.stdout
    assert _state(project) == before

    project.edit(lambda raw: raw["split"].update(test=100))
    done = project.run(UNDERSTUDY, "relabel")
    assert done.returncode == 2
    assert "params.yaml: split changed" in done.stderr
    assert _state(project) == before
