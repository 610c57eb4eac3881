"""Toy stages and the real gate under `understudy serve`."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import chdir, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from tasks import files
from tests.conftest import ROOT
from tests.flows.conftest import Toy, eventually
from tests.gated import Case
from tests.ui.serving import Serving

TOY = """
import fcntl, json, os, sys, time
from pathlib import Path

act = sys.argv[1]
writer = open("writer", "w")
try:
    fcntl.flock(writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    Path("second_writer").touch()
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
if act == "curate" and Path("pool/contradicted").exists():
    print("error [hold]: the labels contradict\\n  fix: look at them", file=sys.stderr)
    sys.exit(4)
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


class Served(Serving):
    """Toy stages and the real gate under `understudy serve`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.toy = toy = Toy(folder, {})
        (folder / "toy.py").write_text(TOY)
        (folder / "dvc.yaml").write_text(yaml.dump({"stages": PIPELINE}, Dumper=yaml.CSafeDumper, sort_keys=False))
        (folder / "pool").mkdir()
        (folder / "pool/one").touch()
        shutil.copytree(ROOT / "data/decisions", folder / "data/decisions")
        with chdir(folder):
            case = Case()
            case.run("r1", case.said("r1"))
            shutil.rmtree(files.champion("r1"))
            shutil.copytree(files.champion("r0"), files.CHAMPION)
        toy.edit(lambda raw: raw.update(approval="manual"))
        super().__init__(toy, *options)

    def ran(self) -> list[str]:
        """The toy stages that ran since the last question."""
        path = self.toy.folder / "ran"
        found = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def undecided(self) -> Path:
        """The ledger of approvals, with nothing said in it: the next run waits for a person."""
        ledger = self.toy.folder / files.APPROVALS
        ledger.write_text(ledger.read_text().splitlines(keepends=True)[0])
        return ledger

    def engines(self) -> list[int]:
        """Processes of flow runs and stages."""
        return self.pids("prefect.engine", "toy.py", "tasks gate")

    def pids(self, *words: str) -> list[int]:
        """Processes at work here whose command line has one of these words."""
        listed = subprocess.run(["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
        found = []
        for line in listed.splitlines():
            pid, _, command = line.strip().partition(" ")
            with suppress(FileNotFoundError):  # it ended meanwhile
                if any(word in command for word in words) and os.readlink(f"/proc/{pid}/cwd") == str(self.toy.folder):
                    found.append(int(pid))
        return found


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
