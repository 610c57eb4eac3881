"""mongod dies while somebody reviews: it is said, and the work goes on where it was."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.flows.conftest import eventually
from tests.review.conftest import Workspace, workspace

__all__ = ["workspace"]
pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]


def _mongods(folder: Path) -> list[int]:
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    wanted = f"--dbpath {folder}/.fiftyone/db"
    return [int(line.split()[0]) for line in listed.splitlines() if wanted in line and "main.py" not in line]


def test_mongod_is_killed_while_the_app_is_open(workspace: Workspace) -> None:
    """Within seconds the command ends with what happened and what to do, without a traceback; the same command starts
    mongod again, on the same data set."""
    project = Project(workspace.folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    project.edit(lambda raw: raw["review"].update(port=port))
    app = project.start("understudy", "review", "--round", "r1")
    assert app.stdout is not None
    said = ""
    while (line := app.stdout.readline()) and not re.search(r"http://127\.0\.0\.1:\d+/\S+", line):
        said += line
    assert line, said
    try:
        [mongod] = _mongods(workspace.folder)
        os.kill(mongod, signal.SIGKILL)
        assert app.wait(timeout=60) == 2
        rest, _ = app.communicate(timeout=60)  # the App's server shares the output: it is gone too
    finally:
        app.kill()
    assert "error [database_gone]: mongod, FiftyOne's database, is gone" in rest
    assert "run the same command again" in rest
    assert "Traceback" not in rest
    eventually(lambda: _mongods(workspace.folder) == [])
    again = project.run("understudy", "review", "--round", "r1", "--no-app")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "unchanged since the last review" in again.stdout
