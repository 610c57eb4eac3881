"""What a DVC that was killed leaves half written is mended before the next one reads it (DVC 3.67.1).

DVC writes two files in place: `.dvc/tmp/rwlock` says who reads and writes what, `dvc.lock` what a stage was made of.
With an empty one every later command refuses to work, with half of dvc.lock the other half of the stages runs again.
No DVC writes them while we hold its locks.
"""

import json
import os
import subprocess
from pathlib import Path

import yaml

TMP = Path(".dvc/tmp")
LOCK = Path("dvc.lock")
KEPT = Path(".work/run/dvc.lock")  # as it was when the last command began


def mend() -> None:
    """In the working directory, the root of a project; says what it did. Imports DVC."""
    if TMP.is_dir():
        _forget_half_a_list()
        _keep_or_bring_back()


def _forget_half_a_list() -> None:
    from dvc.lock import make_lock
    from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK

    listed = TMP / RWLOCK_FILE
    if not _is_json(listed):
        with make_lock(str(TMP / RWLOCK_LOCK), tmp_dir=str(TMP)):
            if not _is_json(listed):
                listed.unlink(missing_ok=True)


def _keep_or_bring_back() -> None:
    """Under DVC's lock of the project, which it holds while it writes dvc.lock."""
    from dvc.lock import make_lock

    with make_lock(str(TMP / "lock"), tmp_dir=str(TMP), wait=True):
        now = LOCK.read_bytes() if LOCK.exists() else None
        if now is None:
            return
        if _is_whole(now):
            _write(KEPT, now)
            return
        kept = KEPT.read_bytes() if KEPT.exists() else _committed()
        if _is_whole(kept):
            _write(LOCK, kept)
            print(f"{LOCK} was half written when DVC was killed: it is again as it was before", flush=True)
        else:
            LOCK.unlink()
            print(f"{LOCK} was half written when DVC was killed: it is made anew from DVC's cache of runs", flush=True)


def _committed() -> bytes:
    """As git has it; nothing where it has not."""
    shown = subprocess.run(["git", "show", f"HEAD:./{LOCK}"], capture_output=True, check=False)
    return b"" if shown.returncode else shown.stdout


def _is_whole(text: bytes) -> bool:
    """A whole file names its schema and ends with a line's end."""
    try:
        found = yaml.load(text, yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError):
        return False
    return text.endswith(b"\n") and isinstance(found, dict) and "schema" in found


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


def _write(path: Path, text: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = path.with_name(f"{path.name}.{os.getpid()}")
    made.write_bytes(text)
    made.replace(path)
