"""How a stage runs as a process: settings, lock, verified inputs, resume folder, publication, exit code.

`python -m tasks curate r1` calls `curate(stage, "r1")` of tasks/curate.py. Settings are checked and the lock is taken
before that module, and with it torch, is imported: what cannot work is refused within a second.

DVC hashes a stage's inputs after it ran. A change meanwhile would be recorded as if it had been used, so every input is
snapshotted at the start and the stage refuses to publish when one of them changed (contracts C1 to C4, C9).
"""

import ctypes
import errno
import fcntl
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks import files
from tasks.errors import BAD_INPUT, OUR_BUG, Busy, UserError
from tasks.params import PARAMS_FILE, Settings, load, value_at

PR_SET_PDEATHSIG = 1
EACH = {
    "ingest": "sources",
    "fingerprint": "sources",
}  # the section whose entries a stage is run for; `rounds` where none stands here
INTERRUPTED = 130  # 128 + SIGINT: what a shell reports
Snapshot = tuple[int, int, int]


class Stage:
    """One running stage: hands out verified inputs and staged outputs, and publishes them together at the end."""

    def __init__(
        self, name: str, settings: Settings, params: Sequence[str], code: dict[Path, Snapshot | None] | None = None
    ) -> None:
        self.name = name
        self.settings = settings
        self._used = {key: value_at(settings, key) for key in params}
        self._inputs: dict[str, str] = {}
        self._snapshots = dict(code or {})
        self._outputs: list[Path] = []
        self._summary: dict[str, Any] = {}

    @property
    def home(self) -> Path:
        """The stage's own folder under .work: lock, checkpoints, staged outputs."""
        return files.WORK / self.name

    def input(self, path: Path) -> Path:
        """Verify an artefact (or hash a plain file) and watch it until the stage ends."""
        if path.is_dir():
            watched = [p for p in path.rglob("*") if p.is_file()]
            self._snapshots |= {p: _stat(p) for p in watched}
            files.verify(path)
            self._inputs[path.as_posix()] = files.manifest_hash(path)
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

    def watch(self, path: Path) -> Path:
        """Watch a source that is not ours: a file, or a folder with all that is added, changed or removed in it."""
        watched = [path, *path.rglob("*")] if path.is_dir() else [path]
        self._snapshots |= {p: _stat(p) for p in watched}
        return path

    def resume(self) -> Path:
        """A folder for chunks and checkpoints; a killed run finds it again while inputs, settings and code stay."""
        code = {path.name: files.sha256_file(path) for path in _code()}
        key = files.digest({"inputs": self._inputs, "params": self._used, "code": code})[:16]
        folder = self.home / "resume" / key
        for other in (self.home / "resume").glob("*"):
            if other != folder:
                shutil.rmtree(other)
                print(f"{self.name}: inputs, settings or code changed since the interrupted run; starting clean")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def output(self, target: Path) -> Path:
        """An empty folder to write the artefact `target` in; it appears under its name when the stage is done."""
        staged = self._staged(len(self._outputs))
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        self._outputs.append(target)
        return staged

    def summary(self, **values: Any) -> None:
        """Numbers to stand in the first artefact's summary.json and in `dvc metrics`."""
        self._summary |= values

    def publish(self) -> None:
        """Seal all outputs, check that no input changed, and move them into place."""
        record = {"stage": self.name, "version": version("understudy"), "params": self._used, "inputs": self._inputs}
        staged = [self._staged(i) for i in range(len(self._outputs))]
        files.write_json(self._summary, staged[0] / files.SUMMARY)
        for folder in staged:
            files.seal(folder, record)
        self._refuse_if_inputs_changed()
        for folder, target in zip(staged, self._outputs, strict=True):
            files.move_into_place(folder, target)
        files.replace_file(files.metrics(self.name), (self._outputs[0] / files.SUMMARY).read_text(encoding="utf-8"))
        for leftover in ("out", "resume"):
            shutil.rmtree(self.home / leftover, ignore_errors=True)

    def _staged(self, index: int) -> Path:
        return self.home / "out" / str(index)

    def _refuse_if_inputs_changed(self) -> None:
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
        for key, before_value in self._used.items():
            if value_at(now, key) != before_value:
                what = f"{PARAMS_FILE}: {key} changed while {self.name} ran; nothing was published"
                raise Busy("input_changed", what, "run the same command again")


def main(name: str, key: str) -> int:
    """Run the stage `name` of tasks/<name>.py for the round or source `key` ("" where there is none): its exit code."""
    return exit_code(lambda: _run(name, key))


def exit_code(action: Callable[[], None]) -> int:
    """Call an action; print a user's error without traceback; return the exit code of C9."""
    try:
        action()
    except UserError as error:
        if os.environ.get("UNDERSTUDY_DEBUG"):
            traceback.print_exc()
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped by Ctrl-C; the same command continues", file=sys.stderr, flush=True)
        return INTERRUPTED
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}:
            return _our_bug()
        free = shutil.disk_usage(".").free
        print(
            f"error [cannot_write]: {error}; {free:,} bytes are free here; what was there before is unchanged\n"
            "  fix: make room or mend the permissions, then run the same command again",
            file=sys.stderr,
        )
        return BAD_INPUT
    except Exception:
        return _our_bug()
    return 0


def _our_bug() -> int:
    traceback.print_exc()
    print("error [our_bug]: this is a mistake of understudy, not yours; please report the lines above", file=sys.stderr)
    return OUR_BUG


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
        stage = Stage(full_name, settings, [p.format(key=key) for p in module.PARAMS], snapshots)
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


def _code() -> list[Path]:
    return sorted(Path(__file__).resolve().parent.rglob("*.py"))


def _stat(path: Path) -> Snapshot | None:
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return info.st_ino, info.st_size, info.st_mtime_ns
