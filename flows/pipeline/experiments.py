"""DVC experiments in folders of their own: `dvc exp run --temp` of this project, and what came of it.

The workspace is never touched. DVC clones the project at HEAD with all changes of tracked files, shares its cache, so
that nothing is computed twice, and keeps the results as a git ref of the experiment's name.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.pipeline import supervisor
from flows.pipeline.repro import Outcome, environment, outcome, readable
from tasks.errors import UserError
from tasks.params import Settings

STANDALONE = Path(".dvc/tmp/exps/standalone")  # where DVC makes the folders of `--temp`
RUNS = Path(".dvc/tmp/exps/run")  # and what it notes about each
LOCK_FILE = Path("dvc.lock")
STAGE_LINE = re.compile(r"^(Running stage '(?P<name>.+)':|Stage '(?P<kept>.+)' (didn't change|is cached))")
# What an experiment needs, be it new to git or not.
OURS = ("dvc.yaml", "params.yaml", "tasks", "data/decisions", "data/start")


@dataclass(frozen=True, slots=True)
class Experiment:
    """A finished one: its git revision and the commit it started from."""

    rev: str
    base: str


def git(*args: str) -> str:
    """What git says; UserError when it fails."""
    done = subprocess.run(["git", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        what = f"git {args[0]}: {done.stderr.strip()}"
        raise UserError("no_git", what, "experiments are git refs: `git init`, then commit the project")
    return done.stdout


def finished(name: str) -> Experiment | None:
    """The experiment of this name, whatever commit it started from: refs/exps/<2 digits>/<38 digits>/<name>."""
    for line in git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines():
        rev, ref = line.split(" ", 1)
        parts = ref.split("/")
        if len(parts) == 5 and parts[4] == name:
            return Experiment(rev, parts[2] + parts[3])
    return None


def images_of(lock: dict[str, Any]) -> dict[str, str]:
    """By source, DVC's hash of the images that a dvc.lock speaks of."""
    outs = {
        out["path"]: out["md5"]
        for name, stage in lock.get("stages", {}).items()
        if name.startswith("ingest@")
        for out in stage["outs"]
        if "md5" in out
    }
    return {path: md5 for path, md5 in outs.items() if path.startswith("data/images/")}


def lock_of(experiment: Experiment) -> dict[str, Any]:
    """The dvc.lock of an experiment."""
    lock: dict[str, Any] = yaml.safe_load(git("show", f"{experiment.rev}:{LOCK_FILE}"))
    return lock


def metrics(experiment: Experiment) -> dict[str, Any]:
    """The metrics files of an experiment by path; the ones whose stage did not run are missing."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "exp", "show", "--json", "--rev", experiment.base],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    if done.returncode:
        raise UserError("no_experiments", f"dvc exp show: {done.stderr.strip()}", "run it yourself to see more")
    for base in json.loads(done.stdout):
        for entry in base["experiments"] or []:
            for revision in entry["revs"] or []:
                if revision["rev"] == experiment.rev:
                    found = (revision["data"] or {}).get("metrics") or {}
                    return {path: value["data"] for path, value in found.items() if "data" in value}
    raise UserError("lost_experiment", f"dvc exp show does not list {experiment.rev}", "run the same command again")


def run(
    name: str, changes: Sequence[str], settings: Settings, log: Callable[[str], None], target: str = "evaluate"
) -> Outcome:
    """Run the loop up to a stage, all rounds of it, with some settings changed; no process is left when this ends."""
    process = subprocess.Popen(
        supervisor.command(sys.executable, "-m", "dvc", *arguments(name, changes, settings), target),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for raw in process.stdout:
            lines.append(readable(raw))
            log(lines[-1])
        status = process.wait()
    finally:
        process.stdin.close()
        process.wait()
    return outcome("", status, lines)


def arguments(name: str, changes: Sequence[str], settings: Settings) -> list[str]:
    """What dvc is told to run an experiment; the way to the sources is made."""
    argv = ["exp", "run", "--temp", "--name", name, *(part for c in changes for part in ("--set-param", c))]
    _link_sources(settings)
    return argv + [part for path in _copied(settings) for part in ("--copy-paths", path)]


def clear_killed(prefix: str) -> None:
    """Remove the folders that killed runs of experiments named like that left; the caller sees that none is at work."""
    for note in RUNS.glob("*/*.run"):
        known = json.loads(note.read_text())
        folder = Path(known.get("root_dir") or "")
        if str(known.get("name")).startswith(prefix) and folder.parent == STANDALONE.resolve():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(note.parent, ignore_errors=True)


def _copied(settings: Settings) -> list[str]:
    """What git does not track and the experiment needs all the same, sources inside the project included."""
    new = git("ls-files", "--others", "--exclude-standard", "--", *OURS).splitlines()
    wanted = [str(LOCK_FILE), *_sources(settings, inside=True)]
    return [*new, *(path for path in wanted if Path(path).exists() and not git("ls-files", "--", path))]


def _link_sources(settings: Settings) -> None:
    """Let relative paths that lead out of the project lead to the same place from an experiment's folder.

    The folder lies deeper, so that `../images` is a neighbour of it; there a link is put. With another path instead,
    every source would be taken in anew.
    """
    for path in _sources(settings, inside=False):
        link = Path(os.path.normpath(STANDALONE / "experiment" / path))
        if not link.is_relative_to(".dvc/tmp") or (link.exists() and not link.is_symlink()):
            what = f"{path} cannot be reached from the folder of an experiment"
            raise UserError("source_out_of_reach", what, "give its absolute path in params.yaml, then `dvc repro`")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(Path(path).resolve())


def _sources(settings: Settings, *, inside: bool) -> list[str]:
    """The relative paths of sources that stay inside the project, or that leave it; tracked by DVC itself: none."""
    relative = [os.path.normpath(s.path) for s in settings.sources.values() if not os.path.isabs(s.path)]
    return [p for p in relative if p.startswith("..") != inside and not Path(f"{p}.dvc").exists()]
