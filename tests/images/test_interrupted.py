"""An ingest that is killed again and again: it goes on, and the bytes come out the same (contract C3)."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import files
from tasks.images import shards
from tests.conftest import ROOT
from tests.images.workspace import Workspace, picture, write_all

ROWS = 50  # images in a shard of these tests
NEVER = 10**9
START = {f"labeled/{name}/{n}.png": picture(10 * c + n) for c, name in enumerate("ab") for n in range(2)}
MANY = {f"pool/{n:04}.png": picture(1000 + n) for n in range(600)}
KILLED = f"""
import os, signal, sys
from tasks.images import intake, shards
from tasks.stage import main
shards.PART_ROWS, left, add = {ROWS}, int(sys.argv[1]), intake.Intake.add
def counted(self, checked):
    global left
    left -= 1
    if not left:
        os.killpg(0, signal.SIGKILL)
    return add(self, checked)
intake.Intake.add = counted
sys.exit(main("ingest", "own"))
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Two shards are published: the four images of the start and one more; 600 files are new."""
    monkeypatch.setattr(shards, "PART_ROWS", ROWS)
    workspace = Workspace(tmp_path)
    for content_of in (START, {"pool/a.png": picture(500)}):
        write_all(workspace.source, content_of)
        assert workspace.run("ingest")[0] == 0
    write_all(workspace.source, MANY)
    return workspace


def _process(workspace: Workspace, file: int) -> subprocess.CompletedProcess[str]:
    """The stage as a process of its own: its index of files holds for the modules that a stage imports, no others."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = [sys.executable, "-c", KILLED, str(file)]
    return subprocess.run(
        start, cwd=workspace.folder, env=env, start_new_session=True, check=False, capture_output=True, text=True
    )


def _kill_at(workspace: Workspace, file: int) -> None:
    """SIGKILL of the stage and its workers when it takes that file in; the shards before it are on disk or not."""
    assert _process(workspace, file).returncode == -signal.SIGKILL


def _artefacts(workspace: Workspace) -> dict[str, str]:
    return {name: value for name, value in workspace.hashes().items() if "metrics" not in name}


def test_killed_and_run_again_gives_the_same_bytes(workspace: Workspace, tmp_path: Path) -> None:
    """kill -9 three times, then the same command: shards that were whole stay, files in them are not read again, and
    every artefact equals that of a run nobody disturbed. A shard damaged meanwhile costs itself and what follows."""
    undisturbed = Workspace(tmp_path / "other")
    for content_of in (START, {"pool/a.png": picture(500)}, MANY):
        write_all(undisturbed.source, content_of)
        assert undisturbed.run("ingest")[0] == 0
    for file in (130, 131, 300):  # 5 are known from the start
        _kill_at(workspace, file)
    [folder] = (workspace.folder / ".work/ingest@own/resume").iterdir()
    parts = sorted(folder.glob("part-*.parquet"))
    assert parts[0].name == "part-00002.parquet"
    kept = len(files.read_json(folder / "journal.json")["parts"])
    assert kept == 4, "the fifth is being written"
    damaged = folder / f"part-{2 + kept - 1:05d}.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    done = _process(workspace, NEVER)
    assert done.returncode == 0, done.stderr
    assert f"going on behind {kept - 1} shards" in done.stdout
    assert workspace.summary("ingest")["read"] <= len(MANY) - ROWS
    assert _artefacts(workspace) == _artefacts(undisturbed)
    assert not folder.exists()


def test_shards_of_another_state_are_not_taken(workspace: Workspace) -> None:
    """What was published changed since the kill (here: it was deleted): the run starts from nothing."""
    _kill_at(workspace, 200)
    for path in (workspace.folder / "data/images/own").iterdir():
        path.unlink()
    (workspace.folder / "data/images/own").rmdir()
    code, said = workspace.run("ingest")
    assert code == 0, said
    assert "going on behind" not in said
    assert workspace.summary("ingest")["stored"] == len(START) + 1 + len(MANY)
