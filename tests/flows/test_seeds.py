"""`understudy seeds` through real DVC experiments, on a project whose stages take no time."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
import yaml

from flows.seeds import Clock
from tasks import studies
from tests.conftest import ROOT, Project
from tests.flows.conftest import UNDERSTUDY

STAGES = """
stages:
  ingest:
    foreach: {mine: 0}
    do:
      cmd: python toy.py ingest ${key}
      deps: [../images]
      outs: ["data/images/${key}"]
  evaluate:
    foreach: [r1, r2]
    do:
      cmd: exec python toy.py evaluate ${item}
      deps: [data/images/mine]
      params: [seed]
      metrics: ["data/metrics/evaluate-${item}.json"]
"""
# Accuracies by seed: the student is better by 3 to 5 points in each; in seed 1 it waits while the file `wait` is there.
TOY = """
import json, pathlib, re, sys, time
act, key = sys.argv[1:]
outside = pathlib.Path(OUTSIDE)
with (outside / "ran").open("a") as ran:
    ran.write(act + "\\n")
if act == "ingest":
    pathlib.Path("data/images/mine").mkdir(parents=True)
    (pathlib.Path("data/images/mine") / "all").write_text(" ".join(p.name for p in pathlib.Path("../images").iterdir()))
else:
    if "standalone" in str(pathlib.Path.cwd()):
        assert "  action: report" in pathlib.Path("params.yaml").read_text()
    seed = int(re.search("^seed: ([0-9]+)", pathlib.Path("params.yaml").read_text(), re.M)[1])
    if seed == 1 and key == "r2" and (outside / "wait").exists():
        (outside / "waits").touch()
        time.sleep(600)
    base = 0.8 + seed / 100
    test = {"n": 100, "baseline": {"accuracy": base}, "teacher": {"accuracy": base - 0.01}}
    test["student"] = {"accuracy": base + (0.03 + seed / 100) * (key == "r2")}
    pathlib.Path("data/metrics").mkdir(parents=True, exist_ok=True)
    pathlib.Path(f"data/metrics/evaluate-{key}.json").write_text(json.dumps({"test": test}))
"""


@pytest.fixture
def toy(tmp_path: Path) -> Project:
    """A project whose source lies beside it; nothing ran."""
    project = Project(tmp_path / "project")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").touch()
    (project.folder / "data/decisions").mkdir(parents=True)
    for path in (ROOT / "data/decisions").glob("*.csv"):
        (project.folder / "data/decisions" / path.name).write_text(path.read_text().splitlines()[0] + "\n")
    (project.folder / "dvc.yaml").write_text(STAGES)
    (project.folder / "toy.py").write_text(TOY.replace("OUTSIDE", repr(str(tmp_path))))
    (project.folder / ".gitignore").write_text(".work/\n")
    settings = yaml.load((ROOT / "params.yaml").read_text(), yaml.CSafeLoader)
    settings["sources"] = {"mine": {"kind": "folder", "path": "../images"}}
    (project.folder / "params.yaml").write_text(yaml.dump(settings, Dumper=yaml.CSafeDumper, sort_keys=False))
    return project


def _run_and_commit(project: Project) -> None:
    for command in (
        "git init -q -b main",
        "git config user.email a@b.c",
        "git config user.name Ada",
        "dvc init -q",
        "dvc repro -q",
        "git add .",
        "git commit -qm first",
    ):
        done = project.run(*command.split())
        assert done.returncode == 0, done.stderr


def test_a_killed_study_goes_on_where_it_was(toy: Project, tmp_path: Path) -> None:
    """After SIGKILL in the second of two seeds the first is not run again, nothing of the killed one is left, the
    source is not taken in anew, and the ledger has every accuracy; the workspace has changed in nothing else."""
    _run_and_commit(toy)
    (tmp_path / "wait").touch()
    study = toy.start(UNDERSTUDY, "seeds", "--n", "2")
    deadline = time.monotonic() + 120
    while not (tmp_path / "waits").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(study.pid, signal.SIGKILL)
    assert "seed 1 (2 of 2): evaluate@r2, stage 3 of 3" in study.communicate(timeout=60)[0]
    (tmp_path / "wait").unlink()
    folders = toy.folder / ".dvc/tmp/exps/standalone"
    assert len(list(folders.glob("tmp*"))) == 1

    done = toy.run(UNDERSTUDY, "seeds", "--n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is there already" in done.stdout.splitlines()[0]
    assert "r2 against baseline: +3.50 points on average over 2 seeds: n < 3: no claim" in done.stdout
    assert not list(folders.glob("tmp*"))
    assert (tmp_path / "ran").read_text().count("ingest") == 1
    found = studies.read(toy.folder / "data/decisions/seeds.csv")
    assert found
    assert found.accuracy["baseline"] == pytest.approx({0: 0.80, 1: 0.81})
    assert found.accuracy["r2"] == pytest.approx({0: 0.83, 1: 0.85})
    assert found.agrees(1, {"baseline": 0.81, "r0": 0.80, "r1": 0.81, "r2": 0.85})
    assert not found.agrees(1, {"baseline": 0.81, "r0": 0.80, "r1": 0.81, "r2": 0.86})
    assert toy.run("git", "status", "--short").stdout.split() == ["M", "data/decisions/seeds.csv"]


def test_a_study_stands_beside_a_run(toy: Project) -> None:
    """Before the first run, and where the seed is set by hand, it says what to do and starts nothing."""
    done = toy.run(UNDERSTUDY, "seeds", "--set", "seed=3")
    assert (done.returncode, "the study sets the seed itself" in done.stderr) == (2, True)
    done = toy.run(UNDERSTUDY, "seeds")
    assert (done.returncode, "run `dvc repro` first" in done.stderr) == (2, True)
    assert not (toy.folder / ".dvc/tmp/exps").exists()


def test_the_time_left_is_that_of_the_stages_to_come() -> None:
    """Nothing is said after a seed from the cache; with 65 s in 10 stages behind it: the rest of this one, and the
    next; a seed slower than the last one never has no time left."""
    clock = Clock(seeds=3, stages=10, at=2, begin=time.monotonic(), passed=1, took=[(0, 5.0)])
    assert "left" not in clock.line(7, "split")
    clock.took.append((10, 60.0))
    assert re.fullmatch(r"seed 7 \(2 of 3\): split, stage 1 of 10, about 2 min (10|09) s left", clock.line(7, "split"))
    clock.passed, clock.begin, clock.at = 9, time.monotonic() - 500, 3
    assert "about 13 s left" in clock.line(7, "student")
