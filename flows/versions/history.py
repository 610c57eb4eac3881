"""What git knows of dvc.lock: a revision's records, and the commit that recorded an artefact first."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import UserError

LOCK = "dvc.lock"
ADDED = re.compile(r"^\+\s+md5: ([0-9a-f]{32}(?:\.dir)?)$")
COMMIT = "commit "
FORMAT = f"{COMMIT}%H%x00%cs%x00%s"


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit in the words of git."""

    hash: str
    date: str  # of the committer, YYYY-MM-DD
    subject: str


@dataclass(frozen=True, slots=True)
class Lock:
    """What a dvc.lock records. `outs`: path → md5 (`….dir` for a folder); `made`: path → the stage that wrote it."""

    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    outs: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)

    def deps(self, stage: str) -> dict[str, str]:
        """path → md5 of everything a stage read, code included."""
        return {dep["path"]: dep["md5"] for dep in self.stages.get(stage, {}).get("deps", ()) if "md5" in dep}

    def params(self, stage: str) -> dict[str, Any]:
        """The settings a stage used, by their dotted keys."""
        return {k: v for keys in self.stages.get(stage, {}).get("params", {}).values() for k, v in keys.items()}


def parse(text: str) -> Lock:
    """A dvc.lock as DVC writes it. UserError when it is none."""
    try:
        stages: dict[str, dict[str, Any]] = (yaml.load(text, yaml.CSafeLoader) or {}).get("stages", {})
        outs = {o["path"]: (o["md5"], name) for name, s in stages.items() for o in s.get("outs", ()) if "md5" in o}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        what = f"{LOCK} cannot be read: {str(error).splitlines()[0]}"
        raise UserError("bad_lock", what, f"finish the merge, or `git checkout {LOCK}`; then `dvc repro`") from None
    return Lock(
        stages, {path: md5 for path, (md5, _) in outs.items()}, {path: name for path, (_, name) in outs.items()}
    )


def workspace_lock(root: Path) -> Lock:
    """dvc.lock as it lies here; an empty one where none does."""
    path = root / LOCK
    return parse(path.read_text(encoding="utf-8")) if path.is_file() else Lock()


def commit_of(root: Path, revision: str) -> Commit:
    """The commit a revision means. UserError where there is no git, or no such revision."""
    done = _git(root, "log", "-1", f"--format={FORMAT}", "--end-of-options", revision, "--")
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["git failed"])[-1]
        raise UserError(
            "unknown_revision", f"{revision!r} is no revision of git here: {said}", "see `git log --oneline`"
        )
    return _commit(done.stdout.strip())


def lock_at(root: Path, commit: Commit) -> Lock:
    """dvc.lock in a commit. UserError where it has none."""
    done = _git(root, "show", f"{commit.hash}:./{LOCK}")
    if done.returncode:
        what = f"{commit.hash[:9]} ({commit.date}, {commit.subject!r}) has no {LOCK}: no run was committed there"
        raise UserError("no_lock", what, f"`git log --oneline -- {LOCK}` lists the commits that have one")
    return parse(done.stdout)


def locks(root: Path) -> list[Commit]:
    """The commits that changed dvc.lock, the newest first; none where there is no git."""
    done = _git(root, "log", f"--format={FORMAT}", "--", LOCK)
    return [_commit(line) for line in done.stdout.splitlines()] if done.returncode == 0 else []


def recorded(root: Path, md5s: set[str]) -> dict[str, Commit]:
    """The first commit, of HEAD and what led to it, whose dvc.lock holds each of some hashes. One pass of git."""
    if not md5s:
        return {}
    pattern = "|".join(sorted(md5s)).replace(".", "[.]")
    command = ["log", "--reverse", "--topo-order", "-m", "-p", "-U0", "--no-color", "--no-ext-diff", f"-G({pattern})"]
    done = _git(root, *command, f"--format={FORMAT}", "--", LOCK)
    found: dict[str, Commit] = {}
    commit = None
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        if line.startswith(COMMIT):
            commit = _commit(line)
        elif commit and (match := ADDED.match(line)) and match[1] in md5s:
            found.setdefault(match[1], commit)
    return found


def _commit(line: str) -> Commit:
    hash_, date, subject = line.removeprefix(COMMIT).split("\0", 2)
    return Commit(hash_, date, subject)


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", "git is not installed")
