"""Faults under `understudy serve`: what is killed, at work, and what the pages say of it then."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.flows.conftest import eventually
from tests.ui.served import RELABELED, Served, working

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def test_a_flow_that_is_killed_is_shown_as_crashed_within_a_minute(served: Served) -> None:
    """No stage outlives it, somebody is told, and the next run finishes the work."""
    run = working(served)
    flow = next(pid for pid in served.engines() if b"prefect.engine" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(flow, signal.SIGKILL)
    assert served.ends(run, "Crashed", 60)["type"] == "CRASHED"
    eventually(lambda: served.engines() == [], 10)
    assert served.alert("failed", run)["flow"] == "relabel"
    (served.toy.folder / "wait").unlink()
    served.ends(served.begin("relabel"), "Relabeled")


def test_the_machine_stops_and_the_run_is_not_shown_as_running(served: Served) -> None:
    """Server, worker, run and stage are killed at once: after the next start the run is shown as crashed."""
    run = working(served)
    for word in ("guarded", "flows.serving.worker", "prefect.engine", "toy.py"):
        assert any(word in command for command in served.toy.alive()), word
    served.kill()
    assert served.engines() == []
    served.start()
    assert "its process is gone" in served.ends(run, "Crashed", 60)["message"]
    (served.toy.folder / "wait").unlink()
    served.ends(served.begin("relabel"), "Relabeled")


def test_a_click_on_cancel_leaves_no_process(served: Served) -> None:
    """Within ten seconds, and the run is shown as cancelled."""
    run = working(served)
    served.server.post(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    eventually(lambda: served.engines() == [], 10)
    assert served.ends(run, "Cancelled", 60)["type"] == "CANCELLED"
    (served.toy.folder / "wait").unlink()
    served.ends(served.begin("relabel"), "Relabeled")


def test_a_run_outlives_the_server_that_is_started_again(served: Served) -> None:
    """The server is killed while a stage works: it comes back, the stage runs once, the run ends well."""
    run = working(served)
    [server] = {*served.pids("flows.serving.guarded")} - {*served.pids("supervisor.py")}
    os.kill(server, signal.SIGKILL)
    (served.toy.folder / "wait").unlink()
    eventually(lambda: served.ended(run), 120)
    assert "predicted by" in served.ends(run, "Relabeled", 120)["message"]
    assert served.ran() == RELABELED


def test_a_worker_by_itself_takes_its_run_along(tmp_path: Path) -> None:
    """Started beside the server, as in a second clone, and told to end: no process is left, and the server knows."""

    class Pages(Served):
        command = "ui"

    served = Pages(tmp_path.resolve() / "toy")
    served.toy.env |= served.server.env
    worker = served.toy.start("python", "-m", "flows.serving.worker")
    try:
        assert worker.stdout is not None
        assert any("started!" in line for line in worker.stdout)
        run = working(served)
        worker.terminate()
        worker.communicate(timeout=30)
        assert served.engines() == []
        assert served.state(run)["name"] == "Crashed"
    finally:
        worker.kill()
        served.close()


@pytest.mark.parametrize("what", ["flows.serving.worker", "supervisor.py", "forkserver", "toy.py", "understudy serve"])
def test_whatever_is_killed_what_is_shown_is_true_within_a_minute(served: Served, what: str) -> None:
    """The worker, all supervisors, DVC, the stage, all of it, at a random moment of a run: it goes on or is shown as
    ended, no process outlives it, nobody writes beside another, and the next run finishes the work."""
    moment = random.SystemRandom().uniform(0, 8)
    print(f"{what} is killed after {moment:.2f} s")
    (served.toy.folder / "pool/one").write_text(str(time.time()))
    run = served.begin("relabel")
    time.sleep(moment)
    eventually(lambda: served.pids(what) or served.ended(run), 60)
    for pid in {*served.pids(what)} - {*(served.pids("supervisor.py") if what != "supervisor.py" else ())}:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if what == "understudy serve":
        served.kill()
        served.start()
    deadline = time.monotonic() + 60
    while bool(served.engines()) == served.ended(run):  # at work without a process, or ended with one
        assert time.monotonic() < deadline, served.state(run)
        time.sleep(0.2)
    eventually(lambda: served.ended(run), 120)
    eventually(lambda: served.engines() == [], 10)
    after = served.begin("relabel")
    eventually(lambda: served.ended(after), 120)
    assert served.state(after)["name"] in {"Relabeled", "Nothingnew"}, served.state(after)
    assert (served.toy.folder / "pool/one").read_text() in (served.toy.folder / "drift.out").read_text()
    assert not (served.toy.folder / "second_writer").exists()
