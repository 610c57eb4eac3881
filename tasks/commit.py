"""How an artefact is published and verified: one rename, with its commit record MANIFEST.json already inside (C1, C2).

The record holds size and sha256 of each file, hashes of inputs and settings. Without a valid one it did not happen.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.errors import Integrity

SCHEMA_VERSION = 1
MANIFEST = "MANIFEST.json"
Entries = dict[str, dict[str, Any]]  # size and sha256 of each file, by its name in the artefact


def write_json(value: Any, path: Path) -> None:
    """JSON with sorted keys, for people and machines."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The counterpart of write_json."""
    return json.loads(path.read_text(encoding="utf-8"))


def digest(value: Any) -> str:
    """sha256 of a plain value in canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """sha256 of a file's content, as hexadecimal text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest_hash(directory: Path) -> str:
    """The identity of a published artefact: sha256 of its commit record, which names every file's hash."""
    path = directory / MANIFEST
    if not path.is_file():
        raise _uncommitted(directory)
    return sha256_file(path)


def seal(staged: Path, record: dict[str, Any], kept: Entries | None = None) -> None:
    """Flush every file of a staged directory to disk and write its commit record, last.

    `kept` are the entries of files that are on disk and hashed already, by `keep` or `settle`.
    """
    entries: Entries = {}
    for path in sorted(p for p in staged.rglob("*") if p.is_file()):
        name = path.relative_to(staged).as_posix()
        if kept and name in kept:
            entries[name] = kept[name]
            continue
        entries[name] = settle(path)
    write_json({"schema": SCHEMA_VERSION, **record, "files": entries}, staged / MANIFEST)
    _fsync(staged / MANIFEST)
    _fsync(staged)


def settle(path: Path) -> dict[str, Any]:
    """Flush a finished file to disk and say what it is: its entry of a commit record."""
    _fsync(path)
    return {"size": path.stat().st_size, "sha256": sha256_file(path)}


def keep(directory: Path, names: Iterable[str], staged: Path) -> Entries:
    """Take files of a published artefact over into its staged successor, and return their entries of the record.

    A link where the file system has them, so that nothing is copied or read: published files are never written in
    place. Integrity when a file has not the recorded size; its content is verified by whoever reads it next.
    """
    entries: Entries = read_json(directory / MANIFEST)["files"]
    taken = {name: entries[name] for name in names}
    for name, entry in taken.items():
        _refuse_other_size(directory, name, entry)
        try:
            (staged / name).hardlink_to(directory / name)
        except OSError:  # a file system without links
            shutil.copyfile(directory / name, staged / name)
            _fsync(staged / name)
    return taken


def recover(staged: Path, target: Path) -> None:
    """Bring back what a kill inside `move_into_place` left beside its place."""
    old = staged.with_name(staged.name + ".old")
    if old.exists() and not target.exists():
        old.rename(target)


def move_into_place(staged: Path, target: Path) -> None:
    """Make a sealed directory visible under its name: a reader sees the old one, none, or the new one, never a mix."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        old = staged.with_name(staged.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        staged.rename(target)
        shutil.rmtree(old)
    else:
        staged.rename(target)
    _fsync(target.parent)


def replace_file(path: Path, content: str) -> None:
    """Publish one small text file: temporary name, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(content, encoding="utf-8")
    _fsync(temporary)
    temporary.replace(path)
    _fsync(path.parent)


def verify(directory: Path) -> dict[str, Any]:
    """Check a published artefact against its commit record, byte for byte, and return the record.

    Raises Integrity naming the file and the stage to run again.
    """
    path = directory / MANIFEST
    try:
        record: dict[str, Any] = read_json(path)
        files = record["files"]
        stage = record["stage"]
    except FileNotFoundError:
        raise _uncommitted(directory) from None
    except (ValueError, KeyError, TypeError):
        raise Integrity("damaged_record", f"{path} is not a commit record", _again(directory)) from None
    present = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()} - {MANIFEST}
    if odd := sorted(present ^ set(files)):
        what = "is not in" if odd[0] in present else "is missing but stands in"
        raise Integrity(
            "changed_artefact", f"{directory / odd[0]} {what} the commit record of {stage}", _again(directory)
        )
    for name, entry in files.items():
        _refuse_other_size(directory, name, entry)
        if sha256_file(directory / name) != entry["sha256"]:
            raise Integrity(
                "changed_artefact",
                f"{directory / name} was altered after {stage} wrote it (sha256 differs)",
                _again(directory),
            )
    return record


def replace_json(path: Path, value: Any) -> None:
    """Publish one small JSON file."""
    replace_file(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def _refuse_other_size(directory: Path, name: str, entry: dict[str, Any]) -> None:
    path = directory / name
    size = path.stat().st_size if path.is_file() else 0
    if size != entry["size"]:
        what = f"{path} has {size} bytes, recorded: {entry['size']}"
        raise Integrity("changed_artefact", what, _again(directory))


def _uncommitted(directory: Path) -> Integrity:
    return Integrity(
        "not_published",
        f"{directory} has no commit record {MANIFEST}: it was never finished",
        _again(directory),
    )


def _again(directory: Path) -> str:
    return f"rm -r {directory}, then `dvc repro`: it is restored from the cache or computed again"


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
