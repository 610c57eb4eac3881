"""Source `manifest`: a Parquet or CSV table, or a folder with train (or labeled), pool (or unlabeled) and test tables.

A row without label belongs to the pool; a labeled row of the pool keeps its label as hidden truth. Labels and paths of
all tables are looked at before the first image is read, so that every mistake is named at once.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath

from tasks.errors import UserError
from tasks.images.record import Origin, Record, Refusal, Source, printable, refuse_path, unknown_class
from tasks.images.tables import KINDS, Row, Table, missing_column

NAMES: dict[str, Origin] = {
    "train": "labeled",
    "labeled": "labeled",
    "pool": "pool",
    "unlabeled": "pool",
    "test": "test",
}
URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|file:", re.IGNORECASE)
SHARD = re.compile(r"-\d{5}-of-\d{5}$")
SHOWN = 20  # mistakes named at once


@dataclass(frozen=True, slots=True)
class Manifest:
    """One table: where its images come from, and the names its label numbers stand for (None: labels are names)."""

    table: Table
    origin: Origin
    root: Path
    names: list[str] | None

    def label(self, row: Row) -> str | None:
        """The class name of a row; None where it has no label (null, empty or Hugging Face's -1)."""
        if row.label in {None, -1, ""}:
            return None
        if not isinstance(row.label, int) or self.names is None:
            return str(row.label)
        return self.names[row.label] if 0 <= row.label < len(self.names) else None


def read(path: Path) -> Source:
    """The rows of all tables in order. UserError names wrong columns, labels and paths with their rows."""
    manifests = _open(path)
    classes = _classes(manifests)
    if not classes:
        what = f"source {path} holds no row with a label"
        raise UserError("no_labels", what, "label some images of each class in the column `label`")
    mistakes = (m for manifest in manifests for m in _mistakes(manifest, classes))
    if shown := list(islice(mistakes, SHOWN + 1)):
        more = ["  and more"] if len(shown) > SHOWN else []
        what = "\n".join([f"source {path} has rows that cannot be right:", *shown[:SHOWN], *more])
        raise UserError("bad_rows", what, "mend these rows; paths start at the manifest's folder and stay in it")
    return Source(classes, sum(m.table.rows for m in manifests), _records(manifests))


def _open(path: Path) -> list[Manifest]:
    if path.is_dir():
        tables = [(p, NAMES.get(SHARD.sub("", p.stem))) for p in sorted(path.iterdir()) if p.suffix.lower() in KINDS]
    else:
        tables = [(path, "labeled")]
    for table, origin in tables:
        if origin is None:
            print(f"ingest: {table.name!r} is not read: its name is none of {', '.join(NAMES)}")
    opened = [(_table(table), origin) for table, origin in tables if origin is not None]
    if "labeled" not in [origin for _, origin in opened]:
        what = f"source {path} holds no train.parquet, train.csv, labeled.parquet or labeled.csv"
        raise UserError("no_source", what, "name the tables train, pool and test, or let its path name one table")
    names = next((table.names for table, origin in opened if origin == "labeled" and table.names), None)
    root = (path if path.is_dir() else path.parent).resolve()
    return [Manifest(table, origin, root, table.names or names) for table, origin in opened]


def _table(path: Path) -> Table:
    if path.suffix.lower() not in KINDS:
        what = f"source {path} is no manifest; known: {', '.join(KINDS)}"
        raise UserError("bad_manifest", what, "name a Parquet or CSV table, or use kind: folder")
    return KINDS[path.suffix.lower()](path)


def _classes(manifests: list[Manifest]) -> list[str]:
    """The names in the source's order; without one, those that occur among the labels, sorted."""
    labeled = [manifest for manifest in manifests if manifest.origin == "labeled"]
    for manifest in labeled:
        if "label" not in manifest.table.columns:
            raise missing_column(manifest.table.path, "label", manifest.table.columns)
    if ordered := [name for manifest in labeled for name in manifest.table.names or []]:
        return list(dict.fromkeys(ordered))
    found = {manifest.label(row) for manifest in labeled for row in manifest.table.read(with_images=False)} - {None}
    return sorted((name for name in found if name is not None), key=lambda name: (_number(name), name))


def _number(name: str) -> float:
    return int(name) if name.isascii() and name.isdecimal() else math.inf


def _mistakes(manifest: Manifest, classes: list[str]) -> Iterator[str]:
    """Rows whose label or path cannot be meant."""
    known = set(classes)
    for row in manifest.table.read(with_images=False):
        at = f"  {manifest.table.path.name}, row {row.number}:"
        label = manifest.label(row)
        if label is None and isinstance(row.label, int) and row.label != -1:
            yield f"{at} label {row.label}, but the classes are numbered 0 to {len(manifest.names or []) - 1}"
        elif label is not None and label not in known:
            yield f"{at} {unknown_class(label, classes)}"
        if not manifest.table.has_images and (reason := _bad_path(row.path or "")):
            yield f"{at} path {row.path!r} {reason}"


def _bad_path(path: str) -> str | None:
    """Why a path is not one of a file under the manifest's folder."""
    windows = PureWindowsPath(path)
    if not path or "\0" in path:
        return "is empty or holds a NUL"
    if URL.match(path):
        return "is a URL; nothing is fetched"
    if path.startswith("~") or PurePosixPath(path).is_absolute() or windows.drive or windows.root:
        return "is absolute"
    if ".." in windows.parts:
        return "leaves the folder"
    return None


def _records(manifests: list[Manifest]) -> Iterator[Record]:
    for manifest in manifests:
        for row in manifest.table.read(with_images=True):
            yield _record(manifest, row)


def _record(manifest: Manifest, row: Row) -> Record:
    label = manifest.label(row)
    origin: Origin = "pool" if manifest.origin == "labeled" and label is None else manifest.origin
    path = printable(row.path or "")
    if manifest.table.has_images:
        path = f"{manifest.table.path.stem}#{row.number}" + (f"/{path}" if path else "")
    content: bytes | Path | Refusal
    if origin == "test" and label is None:
        content = Refusal("no_label", "a test image needs a label")
    elif row.image is not None:
        content = row.image
    elif reason := _bad_path(row.path or ""):
        content = Refusal("bad_path", f"the row has no bytes and its path {reason}")
    else:
        file = manifest.root / (row.path or "")
        content = refuse_path(manifest.root, file) or file
    return Record(path, manifest.table.path.name, origin, label, content)
