"""`understudy search-augment` through real DVC experiments, on a gate that likes one magnitude."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Project
from tests.flows.conftest import UNDERSTUDY

STAGES = """
stages:
  ingest:
    foreach: {digits: 0}
    do:
      cmd: mkdir -p data/images/digits && touch data/images/digits/all
      outs: ["data/images/digits"]
  gate:
    foreach: [r1, r2]
    do:
      cmd: python gate.py ${item}
      deps: [data/images/digits, gate.py]
      params: ["rounds.${item}.student"]
      outs: ["data/champions/${item}"]
"""
# The gain is best at magnitude 10, and nobody may look at the test to know it.
GATE = """
import json, pathlib, sys, yaml
noise = yaml.load(open("params.yaml"), yaml.CSafeLoader)["rounds"][sys.argv[1]]["student"]["noise"]
gain = 0.03 - abs(noise["magnitude"] - 10) / 100 + noise["num_ops"] / 1000
folder = pathlib.Path("data/champions") / sys.argv[1]
folder.mkdir(parents=True)
accuracy = {"difference": gain, "low": gain - 1, "high": 1.0}
(folder / "gate.json").write_text(json.dumps({"n": 100, "accuracy": accuracy}))
"""


@pytest.fixture
def toy(tmp_path: Path) -> Project:
    """A project that ran once and is committed."""
    project = Project(tmp_path / "project")
    (project.folder / "data/decisions").mkdir(parents=True)
    for path in (ROOT / "data/decisions").glob("*.csv"):
        (project.folder / "data/decisions" / path.name).write_text(path.read_text().splitlines()[0] + "\n")
    (project.folder / "dvc.yaml").write_text(STAGES)
    (project.folder / "gate.py").write_text(GATE)
    (project.folder / ".gitignore").write_text(".work/\n")
    (project.folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    me = "git -c user.name=Ada -c user.email=a@b.c commit -qm first"
    for command in ("git init -q -b main", "dvc init -q", "dvc repro -q", "git add .", me):
        done = project.run(*command.split())
        assert done.returncode == 0, done.stderr
    return project


def test_the_grid_is_judged_by_the_gate_and_the_settings_stay(toy: Project) -> None:
    """The pair the gate likes best stands first, with its experiment; the workspace is untouched; what ran is not run
    again; without gate images nothing starts."""
    grid = ("--num-ops", "2", "--magnitude", "5", "--magnitude", "10")
    done = toy.run(UNDERSTUDY, "search-augment", *grid)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^\s*2\s+(\d+)\s+([+-][\d.]+) points", done.stdout, flags=re.MULTILINE) == [
        ("10", "+3.20"),
        ("5", "-1.80"),
    ]
    assert toy.run("git", "status", "--short").stdout.strip() == ""
    again = toy.run(UNDERSTUDY, "search-augment", *grid)
    assert "of 2)" in done.stdout
    assert "of 2)" not in again.stdout
    shown = json.loads(toy.run("dvc", "exp", "show", "--json").stdout)
    assert len(shown[-1]["experiments"]) == 2
    toy.edit(lambda settings: settings["split"].update(gate=0))
    done = toy.run(UNDERSTUDY, "search-augment")
    assert (done.returncode, "the sealed test is not for choosing" in done.stderr) == (2, True)
    assert yaml.load((toy.folder / "params.yaml").read_text(), yaml.CSafeLoader)["split"]["gate"] == 0
