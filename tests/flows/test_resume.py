"""A word in the ledger brings the run back that waits for it; tests/ui does it with runs that are really suspended."""

from pathlib import Path

import pytest

from flows.serving import resume
from tasks import approvals, files
from tasks.approvals import Answer
from tests.flows.conftest import Server

NET, OTHER = "a" * 64, "b" * 64


def _suspended(server: Server, key: str) -> str:
    """A run that waits under a key."""
    flow = server.post("flows/", {"name": "self-training"})["id"]
    run: str = server.post("flow_runs/", {"flow_id": flow, "name": key})["id"]
    waits = {"type": "PAUSED", "name": "Suspended", "state_details": {"pause_key": key}}
    server.post(f"flow_runs/{run}/set_state", {"state": waits, "force": True})
    return run


def test_the_run_that_waits_for_this_word_goes_on_and_no_other(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By round and net, asked however often; a server that is gone resumes nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", server.token)
    keys = [resume.about("r1", NET) + "1", resume.about("r1", OTHER) + "0", resume.about("r2", NET) + "0"]
    runs = {key: _suspended(server, key) for key in keys}
    assert resume.resume_decided(server.api) == []
    files.replace_file(files.APPROVALS, ",".join(approvals.HEADER) + "\n")
    for action in ("hold", "promote"):
        approvals.append(files.APPROVALS, Answer("r1", NET, action, "0.7", "ada", "now", "looked"))
    assert resume.resume_decided("http://127.0.0.1:9/api") == []
    assert resume.resume_decided(server.api) == [keys[0]]
    states = {key: server.get(f"flow_runs/{run}")["state"]["type"] for key, run in runs.items()}
    assert states == {keys[0]: "RUNNING", keys[1]: "PAUSED", keys[2]: "PAUSED"}
    assert resume.resume_decided(server.api) == []
    for run in runs.values():
        server.post(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLED"}, "force": True})
