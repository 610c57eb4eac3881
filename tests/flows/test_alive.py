"""Who died without a word is found, and nobody else."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient

from flows.serving import alive
from tests.flows.conftest import Server

WORK = """
import sys
from flows.serving import alive
alive.hold(sys.argv[1])
print("at work", flush=True)
sys.stdin.readline()
"""


def _at_work(run: str) -> subprocess.Popen[str]:
    """A process that works on a run until it is told to end."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", WORK, run], text=True, **pipes)  # type: ignore[call-overload]
    assert process.stdout.readline() == "at work\n"
    return process  # type: ignore[no-any-return]


def _end(process: subprocess.Popen[str], by: signal.Signals | None) -> None:
    """In peace, or by a signal."""
    if by:
        process.send_signal(by)
    process.communicate("\n" if by is None else None, timeout=30)


def test_the_dead_that_are_shown_at_work_are_buried(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed or terminated, a run that the server shows at work is Crashed, one to be cancelled Cancelled; what ended
    stays what it is, what is suspended waits, who lives works on. Only of the living a file stays."""
    monkeypatch.chdir(tmp_path)
    flow = server.post("flows/", {"name": "toy"})["id"]
    cases = {  # name of the run: what the server shows, how its process ends, what the server shows then
        "killed": ("RUNNING", signal.SIGKILL, "CRASHED"),
        "terminated": ("RUNNING", signal.SIGTERM, "CRASHED"),
        "left without a word": ("RUNNING", None, "CRASHED"),
        "killed before it began": ("PENDING", signal.SIGKILL, "CRASHED"),
        "killed as wished": ("CANCELLING", signal.SIGKILL, "CANCELLED"),
        "killed while it waits": ("PAUSED", signal.SIGKILL, "PAUSED"),
        "done": ("COMPLETED", None, "COMPLETED"),
        "done, then killed": ("COMPLETED", signal.SIGKILL, "COMPLETED"),
    }
    runs = {name: server.post("flow_runs/", {"flow_id": flow, "name": name})["id"] for name in [*cases, "at work"]}
    for name, run in runs.items():
        shown = cases[name][0] if name in cases else "RUNNING"
        server.post(f"flow_runs/{run}/set_state", {"state": {"type": shown}, "force": True})
    processes = {name: _at_work(run) for name, run in runs.items()}
    for name, (_, by, _) in cases.items():
        _end(processes[name], by)

    async def bury() -> list[str]:
        async with PrefectClient(server.api, auth_string=server.token) as client:
            return await alive.bury(client)

    told = asyncio.run(bury())
    assert sorted(told) == sorted(name for name, (before, _, after) in cases.items() if before != after)
    found = {name: server.get(f"flow_runs/{run}")["state"]["type"] for name, run in runs.items()}
    assert found == {name: after for name, (_, _, after) in cases.items()} | {"at work": "RUNNING"}
    assert [path.stem for path in alive.HOME.iterdir()] == [runs["at work"]]
    _end(processes["at work"], None)


def test_a_run_is_handed_from_process_to_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker claims it and lets it go when its own process has it; a moment in which nobody has it there is not."""
    monkeypatch.chdir(tmp_path)
    run = str(uuid4())
    with alive.claim(run):
        assert alive.dead() == []
        process = _at_work(run)
    assert alive.dead() == []
    _end(process, signal.SIGKILL)
    assert alive.dead() == [run]
    again = _at_work(run)
    assert alive.dead() == []
    _end(again, None)
    alive.hold(run)
    alive.forget()
    assert list(alive.HOME.iterdir()) == []
