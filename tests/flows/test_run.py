"""`understudy run` as a process: what Prefect shows, what the exit code says, and that no process is left."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.flows.conftest import UNDERSTUDY, Server, Stages, Toy, eventually

EVERYTHING: Stages = {
    "first": ("count", []),
    "meet_left": ("meet", ["first"]),
    "meet_right": ("meet", ["first"]),
    "teacher": ("alone", []),
    "baseline": ("alone", []),
    "bad": ("fail", ["first"]),
    "after_bad": ("ok", ["bad"]),
    "busy": ("busy_once", []),
    "killed": ("killed_once", []),
}
SLEEPY: Stages = {"first": ("ok", []), "sleepy": ("sleep", ["first"])}


@pytest.fixture
def toy(tmp_path: Path, server: Server) -> Toy:
    """A project with a stage of every kind that reports to the server."""
    made = Toy(tmp_path / "toy", EVERYTHING)
    made.env |= server.env
    return made


def test_a_run_shows_every_stage_and_fails_with_the_stages_words(toy: Toy, server: Server) -> None:
    """Independent stages finish (branches at once, training one at a time), what follows a failure is not ready,
    busy and killed stages are tried again, user errors are not; the next run leaves what is done alone."""
    done = toy.run(UNDERSTUDY, "run")
    words = "bad: error [toy]: bad has a bad row\n  - row 7\n  fix: mend row 7"
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    run = server.last_run()
    assert run["state"]["type"] == "FAILED"
    assert run["state"]["message"] == words
    expected = dict.fromkeys(EVERYTHING, "Completed") | {"bad": "Failed", "after_bad": "NotReady"}
    eventually(lambda: server.tasks(run["id"]) == expected)
    assert {name: toy.tries(name) for name in ("bad", "after_bad", "busy", "killed")} == {
        "bad": 1,
        "after_bad": 0,
        "busy": 2,
        "killed": 2,
    }
    eventually(lambda: "meet_left says hello" in server.log(run["id"]))
    assert server.artifacts(run["id"]) == {"progress-first": 100.0}

    metrics = toy.folder / "data/metrics/evaluate-r1.json"
    metrics.parent.mkdir(parents=True)
    metrics.write_text(json.dumps({"test": {"n": 400, "student": {"accuracy": 0.95}}}))
    (metrics.parent / "report.json").write_text(json.dumps({"headline": "Self-training helped."}))
    (toy.folder / "data/report").mkdir()
    (toy.folder / "data/report/report.html").write_text("<p>")
    done = toy.run(UNDERSTUDY, "run", "--stage", "meet_left")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0.950" in done.stdout
    assert "dvc plots" in done.stdout
    run = server.last_run()
    eventually(lambda: server.tasks(run["id"]) == {"first": "Unchanged", "meet_left": "Unchanged"})
    artifacts = server.artifacts(run["id"])
    assert json.loads(artifacts["accuracy"]) == [{"round": "r1", "student": "0.950", "images": 400}]
    assert (toy.folder / "data/report/report.html").as_uri() in artifacts["report"]
    assert "**Self-training helped.**" in artifacts["report"]


@pytest.fixture
def sleepy(tmp_path: Path) -> Toy:
    """A project whose second stage is silent for ten minutes."""
    return Toy(tmp_path / "toy", SLEEPY)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_no_process(number: signal.Signals, sleepy: Toy, server: Server) -> None:
    """Ctrl-C and SIGTERM end the stage before the run ends, and the exit code says which it was."""
    sleepy.env |= server.env
    with sleepy.start(UNDERSTUDY, "run") as process:
        eventually(lambda: sleepy.tries("sleepy"))
        os.kill(process.pid, number)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 128 + number, said
    assert sleepy.alive() == []
    assert "no stage is left running" in said
    assert "Traceback" not in said


def test_a_click_on_cancel_leaves_no_process(sleepy: Toy, server: Server) -> None:
    """Cancelled in the UI, the run ends its stages and is shown as cancelled."""
    sleepy.env |= server.env
    with sleepy.start(UNDERSTUDY, "run") as process:
        eventually(lambda: sleepy.tries("sleepy"))
        run = server.last_run()["id"]
        server.post(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM, said
    assert sleepy.alive() == []
    assert server.last_run()["state"]["name"] == "Cancelled"


def test_without_a_server_it_runs_and_a_kill_leaves_no_process(sleepy: Toy, server: Server) -> None:
    """No server answers at the address given: the run brings its own, and SIGKILL leaves neither it nor a stage."""
    sleepy.env["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    sleepy.env["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = server.database  # a new one takes 8 s more
    with sleepy.start(UNDERSTUDY, "run") as process:
        eventually(lambda: sleepy.tries("sleepy"), 120)
        assert any("flows.serving.guarded" in command for command in sleepy.alive())
        process.kill()
        said, _ = process.communicate()
    eventually(lambda: sleepy.alive() == [])
    assert "warning: no Prefect server answers at PREFECT_API_URL=http://127.0.0.1:9/api" in said
    assert (sleepy.folder / "first.out").read_text() == "made"
