"""How a stage runs as a process: settings, lock, verified inputs, resume folder, publication, exit code.

`python -m tasks curate r1` calls `curate(stage, "r1")` of tasks/curate.py. Settings are checked and the lock is taken
before that module, and with it torch, is imported: what cannot work is refused within a second.

DVC hashes a stage's inputs after it ran. A change meanwhile would be recorded as if it had been used, so every input is
snapshotted at the start and the stage refuses to publish when one of them changed (contracts C1 to C4, C9).
"""

import ctypes
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks import files
from tasks.errors import Busy, UserError, exit_code
from tasks.params import PARAMS_FILE, Settings, load, value_at
from tasks.watch import Look, look

PR_SET_PDEATHSIG = 1
EACH = {
    "ingest": "sources",
    "fingerprint": "sources",
    "distill": "distill",
}  # the section whose entries a stage is run for; `rounds` where none stands here
Snapshot = tuple[int, int, int]
PLUMBING = {
    "tasks.stage",
    "tasks.commit",
    "tasks.files",
    "tasks.params",
    "tasks.params_data",
    "tasks.params_nets",
    "tasks.params_review",
    "tasks.params_runs",
    "tasks.params_trust",
    "tasks.nets.names",
    "tasks.explain",
    "tasks.yaml_file",
    "tasks.errors",
    "tasks.progress",
    "tasks.watch",
}


@dataclass(slots=True)
class _Output:
    """An artefact to be: its place, whether its record says what it came from, and the files it takes over."""

    target: Path
    origin: bool
    kept: files.Entries = field(default_factory=dict)


class Stage:
    """One running stage: hands out verified inputs and staged outputs, and publishes them together at the end."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        params: Sequence[str],
        code: dict[Path, Snapshot | None] | None = None,
        stops: Sequence[str] = (),
    ) -> None:
        """`params` are the settings that the outputs follow from; `stops` can stop the stage and change nothing it
        writes, so no record names them: what follows does not run again for another limit."""
        self.name = name
        self.settings = settings
        self._used = {key: value_at(settings, key) for key in params}
        self._stops = {key: value_at(settings, key) for key in stops}
        self._inputs: dict[str, str] = {}
        self._snapshots = dict(code or {})
        self._looks: dict[Path, Look] = {}
        self._outputs: list[_Output] = []
        self._summary: dict[str, Any] = {}
        self._counts: dict[str, Any] = {}

    @property
    def home(self) -> Path:
        """The stage's own folder under .work: lock, checkpoints, staged outputs."""
        return files.WORK / self.name

    def input(self, path: Path, only: Sequence[str] | None = None) -> Path:
        """Verify an artefact (or hash a plain file) and watch it until the stage ends.

        What the stage writes may depend on the files `only` of an artefact: then its record names these alone, and an
        artefact that changes elsewhere changes nothing that follows. None named: it can stop the stage and no more.
        """
        if path.is_dir():
            watched = [p for p in path.rglob("*") if p.is_file()]
            self._snapshots |= {p: _stat(p) for p in watched}
            entries = files.verify(path)["files"]
            if only is None:
                self._inputs[path.as_posix()] = files.manifest_hash(path)
            else:
                self._inputs |= {(path / name).as_posix(): entries[name]["sha256"] for name in only}
        elif path.is_file():
            self._snapshots[path] = _stat(path)
            self._inputs[path.as_posix()] = files.sha256_file(path)
        else:
            raise UserError(
                "missing_input",
                f"{path} does not exist",
                "run `dvc repro`, which makes what a stage needs first",
            )
        return path

    def inputs(self, folder: Path) -> Path:
        """Verify and watch every artefact in a folder, such as the images of all sources."""
        if not (found := sorted(record.parent for record in folder.glob(f"*/{files.MANIFEST}"))):
            self.input(folder)
        for path in found:
            self.input(path)
        return folder

    def watch(self, path: Path, settle_seconds: float = 0) -> None:
        """Watch a source that is not ours: a file, or a folder with all that is added, changed or removed in it.

        Nothing is read before its youngest file is `settle_seconds` old: what is still being copied in would be taken
        for damaged. A time in the future waits no longer than that either. Busy when something changed meanwhile.
        """
        self._looks[path] = look(path)
        wait = min(settle_seconds, self._looks[path].youngest_ns / 1e9 + settle_seconds - time.time())
        if wait > 0:
            print(f"{self.name}: {path} changed just now; waiting {wait:.0f} s for it to settle", flush=True)
            time.sleep(wait)
            self._refuse_if_sources_changed()

    def resume(self) -> Path:
        """A folder for chunks and checkpoints; a killed run finds it again while inputs, settings and code stay."""
        here = Path(__file__).resolve().parent
        code = {path.relative_to(here).as_posix(): files.sha256_file(path) for path in _code()}
        key = files.digest({"inputs": self._inputs, "params": self._used, "code": code})[:16]
        folder = self.home / "resume" / key
        for other in (self.home / "resume").glob("*"):
            if other != folder:
                shutil.rmtree(other)
                print(f"{self.name}: inputs, settings or code changed since the interrupted run; starting clean")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def output(self, target: Path, origin: bool = True) -> Path:
        """An empty folder to write the artefact `target` in; it appears under its name when the stage is done.

        Without `origin` its record names no inputs and settings: then an artefact that comes out the same is the same,
        byte for byte, whatever else changed, and what follows from it need not run again.
        """
        staged = self._staged(len(self._outputs))
        files.recover(staged, target)
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        self._outputs.append(_Output(target, origin))
        return staged

    def keep(self, staged: Path, names: Iterable[str]) -> None:
        """Take files of the artefact that `staged` is going to replace over as they are."""
        output = next(o for i, o in enumerate(self._outputs) if self._staged(i) == staged)
        output.kept |= files.keep(output.target, names, staged)

    def sealed(self, staged: Path, entries: files.Entries) -> None:
        """Files written into `staged` that are on disk already: their entries of the record, by `files.settle`."""
        next(o for i, o in enumerate(self._outputs) if self._staged(i) == staged).kept |= entries

    def summary(self, **values: Any) -> None:
        """Numbers to stand in the first artefact's summary.json and in `dvc metrics`."""
        self._summary |= values

    def counts(self, **values: Any) -> None:
        """Numbers for `dvc metrics` alone: what this run had to do, which depends on what an earlier one left."""
        self._counts |= values

    def publish(self) -> None:
        """Seal all outputs, check that no input changed, and move them into place."""
        record = {"stage": self.name, "version": version("understudy")}
        origin = {"params": self._used, "inputs": self._inputs}
        staged = [self._staged(i) for i in range(len(self._outputs))]
        files.write_json(self._summary, staged[0] / files.SUMMARY)

        def seal(folder: Path, output: _Output) -> None:
            files.seal(folder, record | (origin if output.origin else {"params": {}, "inputs": {}}), output.kept)

        with ThreadPoolExecutor() as pool:  # most of it is waiting for the disk
            list(pool.map(seal, staged, self._outputs))
        self._refuse_if_inputs_changed()
        for folder, output in zip(staged, self._outputs, strict=True):
            files.move_into_place(folder, output.target)
        files.replace_json(files.metrics(self.name), self._summary | self._counts)
        for leftover in ("out", "resume"):
            shutil.rmtree(self.home / leftover, ignore_errors=True)

    def _staged(self, index: int) -> Path:
        return self.home / "out" / str(index)

    def _refuse_if_sources_changed(self) -> None:
        for path, before in self._looks.items():
            now = look(path).folders
            if changed := sorted(f for f in now.keys() | before.folders.keys() if now.get(f) != before.folders.get(f)):
                what = f"{changed[0]!r} changed while {self.name} ran; nothing was published"
                raise Busy("input_changed", what, "wait until everything is copied in, then run the same command again")

    def _refuse_if_inputs_changed(self) -> None:
        self._refuse_if_sources_changed()
        loaded = {getattr(m, "__file__", None) for m in list(sys.modules.values())}
        for path, before in self._snapshots.items():
            if path.suffix == ".py" and str(path) not in loaded:
                continue
            if _stat(path) != before:
                raise Busy(
                    "input_changed",
                    f"{path} changed while {self.name} ran; nothing was published",
                    "run the same command again",
                )
        now = load()
        for key, before_value in (self._used | self._stops).items():
            if value_at(now, key) != before_value:
                what = f"{PARAMS_FILE}: {key} changed while {self.name} ran; nothing was published"
                raise Busy("input_changed", what, "run the same command again")


def main(name: str, key: str) -> int:
    """Run the stage `name` of tasks/<name>.py for the round or source `key` ("" where there is none): its exit code."""
    return exit_code(lambda: _run(name, key))


def _run(name: str, key: str) -> None:
    settings = load()
    section = EACH.get(name, "rounds")
    if key and key not in (entries := getattr(settings, section)):
        what = f"{PARAMS_FILE} has no entry {key!r} under {section}; known: {', '.join(entries)}"
        raise UserError(f"unknown_{section.removesuffix('s')}", what, f"add it under {section}:")
    _die_with_parent()
    full_name = f"{name}@{key}" if key else name
    home = files.WORK / full_name
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "LOCK").open("a+") as lock:
        _take(lock, full_name)
        snapshots = {path: _stat(path) for path in _code()}
        module = import_module(f"tasks.{name}")
        stops: Sequence[str] = getattr(module, "STOPS", ())
        stage = Stage(full_name, settings, [p.format(key=key) for p in module.PARAMS], snapshots, stops)
        body: Callable[..., None] = getattr(module, name)
        body(stage, key) if key else body(stage)
        stage.publish()


def _take(lock: Any, name: str) -> None:
    """One writer for a stage: the kernel frees the lock when its holder dies."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise Busy(
            "busy", f"{name} is already running: {lock.read().strip()}", "wait for it, or stop that process"
        ) from None
    lock.truncate(0)
    lock.write(json.dumps({"pid": os.getpid(), "host": os.uname().nodename}))
    lock.flush()


def _die_with_parent() -> None:
    """Under DVC, end with it: an orphan would go on writing what the next `dvc repro` writes too."""
    if "DVC_STAGE" in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def code_in_use(*prefixes: str) -> str:
    """A hash of the imported modules whose names begin like that."""
    names = {name for name in sys.modules if name.startswith(prefixes)}
    paths = {n: Path(str(sys.modules[n].__file__)) for n in sorted(names)}
    return files.digest({n: files.sha256_file(p) for n, p in paths.items() if p.is_file()})


def _code() -> list[Path]:
    return sorted(Path(__file__).resolve().parent.rglob("*.py"))


def _stat(path: Path) -> Snapshot | None:
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return info.st_ino, info.st_size, info.st_mtime_ns
