"""Faults under `understudy serve`: what is killed, at work, and what the pages say of it then."""

import os
import signal
import subprocess
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
    served.ends(run, "Crashed", 60)
    eventually(lambda: served.engines() == [], 10)
    served.alert("failed", run)
    (served.toy.folder / "wait").unlink()
    served.ends(served.begin("relabel"), "Relabeled")


def test_the_machine_stops_and_the_run_is_not_shown_as_running(served: Served) -> None:
    """Server, worker, run and stage are killed at once: after the next start the run is shown as crashed."""
    run = working(served)
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
    served.ends(run, "Cancelled", 60)
    (served.toy.folder / "wait").unlink()
    served.ends(served.begin("relabel"), "Relabeled")


def test_a_run_outlives_the_server_that_is_started_again(served: Served) -> None:
    """The server is killed while a stage works: it comes back, the stage runs once, the run ends well."""
    run = working(served)
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    server = next(
        int(line.split()[0])
        for line in listed.splitlines()
        if "flows.guarded" in line and f" {served.port} " in f"{line} " and "supervisor" not in line
    )
    os.kill(server, signal.SIGKILL)
    (served.toy.folder / "wait").unlink()

    def answers() -> bool:
        try:
            return bool(served.state(run))
        except OSError:
            return False

    eventually(answers, 60)
    assert "predicted by" in served.ends(run, "Relabeled", 120)["message"]
    assert served.ran() == RELABELED
