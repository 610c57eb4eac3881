"""The command line: light to start, plain in its errors."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks import files
from tests.flows.conftest import UNDERSTUDY, Server, Toy

HEAVY = ("torch", "prefect", "dvc", "fiftyone", "pandas", "duckdb", "pyarrow")


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """A project in which nothing ran."""
    return Toy(tmp_path / "toy", {"a": ("ok", [])})


def test_help_loads_nothing_heavy() -> None:
    """`understudy --help` answers before any of the big libraries is imported."""
    code = (
        "import sys; sys.argv = ['understudy', '--help']\n"
        "from flows.cli import main\n"
        "try: main()\n"
        f"finally: print('heavy:', [m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
    commands = ("run", "ui", "review", "audit", "curate", "check", "export", "verify", "table", "quarantine")
    for command in commands:
        assert command in done.stdout


def test_wrong_settings_stop_a_run_at_once(toy: Toy) -> None:
    """A typo in params.yaml ends `understudy run` with exit 2 before Prefect is loaded, and names the key meant."""
    toy.edit(lambda settings: settings.update(sed=settings.pop("seed")))
    begin = time.monotonic()
    done = toy.run(UNDERSTUDY, "run")
    assert time.monotonic() - begin < 10  # 0.5 s on an idle machine
    assert done.returncode == 2
    assert "did you mean 'seed'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (toy.folder / ".prefect").exists()


def test_an_unknown_stage_stops_a_run_at_once(toy: Toy) -> None:
    """`--stage` with a typo ends with exit 2 and the names there are, before a server is started."""
    done = toy.run(UNDERSTUDY, "run", "--stage", "b")
    assert done.returncode == 2
    assert done.stderr == "error [unknown_stage]: there is no stage 'b'\n  fix: choose one of a\n"
    assert not (toy.folder / ".prefect").exists()


def test_curate_without_preview_says_where_labels_are_made(toy: Toy) -> None:
    """The command shows and never decides: exit 2 names the stage."""
    done = toy.run(UNDERSTUDY, "curate")
    assert done.returncode == 2
    assert "add --preview, or run `understudy run --stage curate@r1`" in done.stderr


def test_check_says_fine(toy: Toy) -> None:
    """`understudy check` is quiet about good settings, and names a source that is not there."""
    mine = {"kind": "folder", "path": "nowhere"}
    toy.edit(lambda settings: settings["sources"].update(mine=mine))
    done = toy.run(UNDERSTUDY, "check")
    assert (done.returncode, "sources.mine.path: nowhere does not exist" in done.stderr) == (2, True)
    toy.edit(lambda settings: settings["sources"].pop("mine"))
    assert toy.run(UNDERSTUDY, "check").stdout == "params.yaml is fine\n"


def test_a_reader_that_has_seen_enough_is_no_bug(toy: Toy) -> None:
    """`understudy check | true` ends as other tools do, without a word."""
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [UNDERSTUDY, "check"], cwd=toy.folder, env=toy.env, stdout=theirs, stderr=subprocess.PIPE, check=False
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")


def test_verify_names_the_damaged_file(toy: Toy) -> None:
    """One changed byte is found, the artefact named, exit 5; the good one is listed too."""
    for name in ("good", "bad"):
        folder = toy.folder / "data" / name
        folder.mkdir(parents=True)
        (folder / "x").write_text("content")
        files.seal(folder, {"stage": "toy"})
    assert toy.run(UNDERSTUDY, "verify").returncode == 0
    (toy.folder / "data/bad/x").write_text("c0ntent")
    done = toy.run(UNDERSTUDY, "verify")
    assert done.returncode == 5
    assert "good  data/good" in done.stdout
    assert "data/bad/x was altered" in done.stdout


def test_a_taken_port_is_named(toy: Toy, server: Server) -> None:
    """`understudy ui` on a port in use says so and how to choose another."""
    port = server.pages.rpartition(":")[2]
    done = toy.run(UNDERSTUDY, "ui", "--port", port)
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr


def test_a_fresh_project_has_no_results(toy: Toy) -> None:
    """The table of a fresh project is no error."""
    done = toy.run(UNDERSTUDY, "table")
    assert done.returncode == 0
    assert "no results yet" in done.stdout
