"""Toy projects: real DVC stages that need nothing but Python, and one real Prefect server for all of them."""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.serving import access
from tests.conftest import ROOT, Project, free_port
from tests.flows.postgres import binaries, postgres

UNDERSTUDY = str(Path(sys.executable).parent / "understudy")

TOY = """
import os, signal, sys, time
from pathlib import Path

act, name = sys.argv[1:]
tries = Path(f"{name}.tries")
tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
if act == "fail":
    print(f"error [toy]: {name} has a bad row\\n  - row 7\\n  fix: mend row 7", file=sys.stderr)
    sys.exit(2)
if act == "busy_once" and len(tries.read_text()) == 1:
    sys.exit(75)
if act == "killed_once" and len(tries.read_text()) == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if act == "meet":  # ends only while the other one runs
    deadline = time.monotonic() + 60
    while len(list(Path().glob("meet*.tries"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(Path().glob("meet*.tries"))) == 2
if act == "alone":  # fails while another one runs; takes its time while there is a file `hold`
    os.mkdir("training")
    time.sleep(0.5)
    while os.path.exists("hold"):
        time.sleep(0.1)
    os.rmdir("training")
if act == "sleep":
    time.sleep(600)
if act == "count":
    print(f"{name}: 1,000 of 4,000 images, 50/s, 1 min left")
    print(f"{name}: 3,000 of 4,000 images, 50/s, 20 s left", flush=True)
    time.sleep(0.5)
print(f"{name} says hello")
Path(f"{name}.out").write_text("made")
"""

Stages = dict[str, tuple[str, list[str]]]  # name: what it does, the stages it needs
IGNORED = (".work/", ".prefect/", "*.out", "*.tries", "hold", "training", "data/")
SERVED: Stages = {"teacher": ("alone", []), "student": ("alone", ["teacher"])}


class Toy(Project):
    """A DVC project whose stages are small scripts; `stages` maps a name to what it does and what it needs."""

    def __init__(self, folder: Path, stages: Stages, git: bool = False) -> None:
        super().__init__(folder)
        folder.mkdir(parents=True)
        self.env |= {"PREFECT_HOME": str(folder / ".prefect")}
        (folder / "toy.py").write_text(TOY)
        pipeline = {
            name: {"cmd": f"python toy.py {act} {name}", "deps": ["toy.py", *(f"{n}.out" for n in needs)]}
            | {"outs": [{f"{name}.out": {"cache": True}}]}
            | ({"params": ["teacher"]} if name == "teacher" else {})
            for name, (act, needs) in stages.items()
        }
        (folder / "dvc.yaml").write_text(yaml.dump({"stages": pipeline}, Dumper=yaml.CSafeDumper, sort_keys=False))
        (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
        self.edit(lambda settings: settings["run"].update(retries=1, retry_delay=0.0))
        commands = ["dvc init -q --no-scm"]
        if git:  # experiments are git refs
            (folder / ".gitignore").write_text("\n".join(IGNORED))
            me = "git -c user.name=Ada -c user.email=a@b.c commit -qm first"
            commands = ["git init -q -b main", "dvc init -q", "git add .", me]
        for command in commands:
            done = self.run(*command.split())
            assert done.returncode == 0, done.stderr

    def tries(self, stage: str) -> int:
        """How often a stage was started."""
        path = self.folder / f"{stage}.tries"
        return len(path.read_text()) if path.exists() else 0


class Server:
    """A running Prefect server, asked over HTTP."""

    def __init__(self, pages: str, project: Project, database: str | None = None) -> None:
        self.pages, self.api, self.project = pages, f"{pages}/api", project
        self.home = project.folder / ".prefect"
        own = f"sqlite+aiosqlite:///{self.home / 'prefect.db'}"
        self.database = database.replace("postgresql://", "postgresql+asyncpg://") if database else own

    @property
    def token(self) -> str:
        """What it wants to be asked with."""
        return access.token_file(self.home).read_text().strip()

    @property
    def env(self) -> dict[str, str]:
        """How a process elsewhere reports to it."""
        return {"PREFECT_API_URL": self.api, "PREFECT_API_AUTH_STRING": self.token}

    def post(self, path: str, body: dict[str, Any] | list[Any]) -> Any:
        """POST and read the answer."""
        return self._ask(path, json.dumps(body).encode())

    def get(self, path: str) -> Any:
        """GET and read the answer."""
        return self._ask(path, None)

    def _ask(self, path: str, data: bytes | None) -> Any:
        headers = {"content-type": "application/json"} | access.header(self.token)
        request = urllib.request.Request(f"{self.api}/{path}", data=data, headers=headers)
        for _ in range(30):
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    return json.loads(response.read() or "null")
            except urllib.error.HTTPError as error:
                if error.code != 503:  # SQLite is busy: Prefect's own clients ask again, too
                    raise
                time.sleep(1)
        raise AssertionError(f"{path}: busy for half a minute")

    def last_run(self) -> dict[str, Any]:
        """The flow run that was started last."""
        started = {"flow_runs": {"start_time": {"is_null_": False}}}  # a schedule has runs of the days to come
        runs: list[dict[str, Any]] = self.post("flow_runs/filter", started | {"sort": "START_TIME_DESC", "limit": 1})
        return runs[0]

    def tasks(self, run: str) -> dict[str, str]:
        """The name of each task of a run and of its state."""
        tasks = self.post("task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return {task["name"]: task["state"]["name"] for task in tasks}

    def artifacts(self, run: str) -> dict[str, Any]:
        """What a run left to look at, by key."""
        made = self.post("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
        return {artifact["key"]: artifact["data"] for artifact in made}

    def log(self, run: str) -> list[str]:
        """The lines of a run's log."""
        entries = self.post("logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"})
        return [entry["message"] for entry in entries]


def eventually(claim: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something holds; the last word is its own."""
    deadline = time.monotonic() + seconds
    while not (held := claim()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert held  # asked again, it may be over


@pytest.fixture(scope="session")
def database() -> Iterator[str | None]:
    """A PostgreSQL; None where there is no program for it."""
    if binaries() is None:
        yield None
    else:
        with postgres(free_port()) as url:
            yield url


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, database: str | None) -> Iterator[Server]:
    """`understudy serve` as a team starts it, in a project whose teacher and student take half a second.

    That it starts is a canary for the pin of fastapi: newer ones install cleanly and break Prefect's server.
    With PostgreSQL where there is one; the server of a run of its own, and the one that is killed, have SQLite.
    """
    home = Toy(tmp_path_factory.mktemp("server") / "toy", SERVED, git=True)
    port = free_port()
    told = ["--database-url", database] if database else []
    process = home.start(UNDERSTUDY, "serve", "--port", str(port), *told)
    assert process.stdout is not None
    said = ""
    while (line := process.stdout.readline()) and "Ctrl-C" not in line:
        said += line
    assert said.startswith(f"Prefect: http://127.0.0.1:{port}\n"), said
    yield Server(f"http://127.0.0.1:{port}", home, database)
    process.terminate()
    assert process.wait(timeout=30) == 0
    process.stdout.close()
    assert home.alive() == []
