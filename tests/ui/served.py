"""A project under `understudy serve`: toy stages, the real gate, a receiver of its alerts."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import chdir, closing, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import yaml

from tasks import files
from tests.conftest import ROOT
from tests.flows.conftest import UNDERSTUDY, Server, Toy, eventually, free_port
from tests.test_gate import Case

TOY = """
import json, os, sys, time
from pathlib import Path

act = sys.argv[1]
with open("ran", "a") as ran:
    ran.write(act + "\\n")
while act == "label" and Path("wait").exists():
    time.sleep(0.05)
pool, done = sorted(os.listdir("pool")), Path(".work/predicted")
before = done.read_text().split() if done.exists() else []
if act == "label":
    done.parent.mkdir(exist_ok=True)
    done.write_text(" ".join(pool))
    metrics = Path("data/metrics/label-r1.json")
    metrics.parent.mkdir(exist_ok=True)
    metrics.write_text(json.dumps({"images": len(pool), "predicted": len({*pool} - {*before})}))
if act == "drift" and Path("pool/foreign").exists():
    print("error [drift]: the pool moved\\n  fix: look at it", file=sys.stderr)
    sys.exit(4)
Path(act + ".out").write_text(" ".join(f"{name}:{Path('pool', name).read_text()}" for name in pool))
"""
ROUND = {"foreach": ["r1"]}
PIPELINE: dict[str, Any] = {
    "ingest": {"foreach": {"own": 0}, "do": {"cmd": "exec python toy.py ingest", "deps": ["pool"]}},
    "split": {"cmd": "exec python toy.py split", "deps": ["ingest.out"], "outs": ["split.out"]},
    "label": ROUND | {"do": {"cmd": "exec python toy.py label", "deps": ["split.out"]}},
    "curate": ROUND | {"do": {"cmd": "exec python toy.py curate", "deps": ["label.out"]}},
    "drift": ROUND | {"do": {"cmd": "exec python toy.py drift", "deps": ["curate.out"]}},
    "gate": ROUND
    | {
        "do": {
            "cmd": "exec python -m tasks gate ${item}",
            "deps": ["data/decisions/approval.csv", "data/decisions/champion.csv", "data/models/${item}"],
            "params": ["approval"],
            "outs": ["data/champions/${item}"],
        }
    },
}
for _name in ("ingest", "label", "curate", "drift"):
    PIPELINE[_name]["do"]["outs"] = [f"{_name}.out"]
RELABELED = ["ingest", "split", "label", "curate", "drift"]


class Patient(Server):
    """SQLite is locked now and then while the server starts; it says 503 then."""

    def _ask(self, path: str, data: bytes | None) -> Any:
        for _ in range(20):
            try:
                return super()._ask(path, data)
            except HTTPError as error:
                error.close()
                if error.code != 503:
                    raise
                time.sleep(1)
        return super()._ask(path, data)


class Served:
    """A project under `understudy serve`, and what its alerts said."""

    def __init__(self, folder: Path) -> None:
        self.toy = toy = Toy(folder, {})
        (folder / "toy.py").write_text(TOY)
        (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": PIPELINE}, sort_keys=False))
        (folder / "pool").mkdir()
        (folder / "pool/one").touch()
        shutil.copytree(ROOT / "data/decisions", folder / "data/decisions")
        with chdir(folder):
            case = Case()
            case.run("r1", case.said("r1"))
            shutil.rmtree(files.champion("r1"))
            shutil.copytree(files.champion("r0"), files.CHAMPION)
        toy.edit(lambda raw: raw.update(approval="manual"))
        self.port, self.told = free_port(), []
        told: list[dict[str, Any]] = self.told

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=self.receiver.serve_forever, daemon=True).start()
        toy.env["UNDERSTUDY_WEBHOOK"] = f"http://127.0.0.1:{self.receiver.server_port}/"
        self.server = Patient(f"http://127.0.0.1:{self.port}", toy)
        self.process: subprocess.Popen[str]
        self.start()

    def start(self) -> None:
        """`understudy serve`, until it says that all is there."""
        self.process = self.toy.start(UNDERSTUDY, "serve", "--port", str(self.port))
        assert self.process.stdout is not None
        said = ""
        while (line := self.process.stdout.readline()) and "Ctrl-C" not in line:
            said += line
        assert line, said
        self.reader = threading.Thread(target=self.process.stdout.read, daemon=True)
        self.reader.start()

    def kill(self) -> None:
        """All of it, as when the machine stops."""
        self.end(signal.SIGKILL)
        eventually(lambda: self.toy.alive() == [])

    def end(self, by: signal.Signals) -> None:
        """Stop `understudy serve` and read what it still says."""
        self.process.send_signal(by)
        self.process.wait(timeout=60)
        self.reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def begin(self, name: str) -> str:
        """Start a deployment as a click in the pages does; the run's id."""
        found = self.server.get(f"deployments/name/{name}/{name}")
        return str(self.server.post(f"deployments/{found['id']}/create_flow_run", {})["id"])

    def state(self, run: str) -> dict[str, Any]:
        """The state of a run as the pages show it."""
        return dict(self.server.get(f"flow_runs/{run}")["state"])

    def ends(self, run: str, name: str, seconds: float = 300) -> dict[str, Any]:
        """Wait until a run is in the state of this name."""
        eventually(lambda: self.state(run)["name"] == name, seconds)
        return self.state(run)

    def ran(self) -> list[str]:
        """The toy stages that ran since the last question."""
        path = self.toy.folder / "ran"
        found = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def engines(self) -> list[int]:
        """Processes of flow runs and stages."""
        words = ("prefect.engine", "toy.py", "tasks gate")
        listed = subprocess.run(["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
        found = []
        for line in listed.splitlines():
            pid, _, command = line.strip().partition(" ")
            with suppress(FileNotFoundError):  # it ended meanwhile
                if any(word in command for word in words) and os.readlink(f"/proc/{pid}/cwd") == str(self.toy.folder):
                    found.append(int(pid))
        return found

    def alert(self, kind: str, run: str) -> dict[str, Any]:
        """Wait for an alert about a run."""
        eventually(lambda: [t for t in self.told if (t["kind"], t["run_id"]) == (kind, run)], 30)
        return next(t for t in self.told if (t["kind"], t["run_id"]) == (kind, run))


def hours_pass(database: Path, hours: int) -> None:
    """The database as it would be after so many hours: every time in it is that much earlier."""
    with closing(sqlite3.connect(database)) as connection:
        for table in [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]:
            columns = connection.execute(f"pragma table_info('{table}')").fetchall()
            for _, name, kind, *_ in columns:
                if "TIMESTAMP" in kind.upper() or "DATETIME" in kind.upper():
                    shifted = f"strftime('%Y-%m-%d %H:%M:%f', \"{name}\", '-{hours} hours')"
                    connection.execute(
                        f'update or ignore "{table}" set "{name}" = {shifted} where "{name}" is not null'
                    )
        connection.commit()


def working(served: Served, name: str = "relabel") -> str:
    """A run whose stage waits."""
    served.ran()
    (served.toy.folder / "wait").touch()
    (served.toy.folder / "pool/one").write_text(str(datetime.now(UTC)))
    run = served.begin(name)
    eventually(lambda: (served.toy.folder / "ran").exists() and "label" in (served.toy.folder / "ran").read_text(), 60)
    return run
