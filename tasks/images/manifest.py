"""Source `manifest`: a Parquet, CSV or JSON Lines table, or a folder with train (or labeled), pool (or unlabeled) and
test tables; a folder may also hold a single table of any name, with the images beside it.

A row without label belongs to the pool; a labeled row of the pool keeps its label as hidden truth. Labels and paths of
all tables are looked at before the first image is read, so that every mistake is named at once. A path stands in one
row; a row that only repeats another one is ignored.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath

from tasks.errors import UserError
from tasks.images.record import IGNORED, Origin, Record, Refusal, Source, printable, refuse_path, unknown_class
from tasks.images.tables import KINDS, Row, Table, missing_column
from tasks.images.twins import Named, Twins

NAMES: dict[str, Origin] = {
    "train": "labeled",
    "labeled": "labeled",
    "pool": "pool",
    "unlabeled": "pool",
    "test": "test",
}
URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|file:", re.IGNORECASE)
PLAIN = re.compile(r"(?:\w[\w .()-]*/)*\w[\w .()-]*")  # surely a path below the folder: the rest is looked at closely
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

    def origin_of(self, row: Row) -> Origin:
        """A row without label belongs to the pool, but in a test table."""
        return "pool" if self.origin == "labeled" and self.label(row) is None else self.origin

    def named(self, row: Row) -> Named:
        """What the row says about its file."""
        says = self.label(row), self.origin_of(row)
        return Named(self.table.path.name, row.number, row.line, row.path or "", says)


def read(path: Path) -> Source:
    """The rows of all tables in order. UserError names wrong columns, labels and paths with their rows."""
    manifests = _open(path)
    classes = _classes(manifests)
    _mention_beside(path, manifests)
    twins = Twins(lambda: (m.named(r) for m in manifests if not m.table.has_images for r in m.table.read(False)))
    mistakes = (m for manifest in manifests for m in _mistakes(manifest, classes, twins))
    if shown := list(islice(mistakes, SHOWN + 1)):
        more = ["  and more"] if len(shown) > SHOWN else []
        what = "\n".join([f"source {path} has rows that cannot be right:", *shown[:SHOWN], *more])
        raise UserError("bad_rows", what, "mend these rows; paths start at the manifest's folder and stay in it")
    return Source(classes, sum(m.table.rows for m in manifests), _records(manifests, twins))


def _mention_beside(path: Path, manifests: list[Manifest]) -> None:
    if path.is_file() and not manifests[0].table.has_images:
        print(f"ingest: DVC watches {path} alone; name its folder as path to have changed images noticed, too")


def _open(path: Path) -> list[Manifest]:
    root = (path if path.is_dir() else path.parent).resolve()
    opened = [(_table(table), origin) for table, origin in _tables(path)]
    names = next((table.names for table, origin in opened if origin == "labeled" and table.names), None)
    return [Manifest(table, origin, root, table.names or names) for table, origin in opened]


def _tables(path: Path) -> list[tuple[Path, Origin]]:
    """The tables of a source and whose rows they hold; a single one may have any name."""
    if not path.is_dir():
        return [(path, "labeled")]
    found = [p for p in sorted(path.iterdir()) if p.suffix.lower() in KINDS]
    known = [(p, NAMES[name]) for p in found if (name := SHARD.sub("", p.stem)) in NAMES]
    if not known and len(found) == 1:
        return [(found[0], "labeled")]
    if not known:
        among = f" among {', '.join(printable(p.name) for p in found[:5])}" if found else ""
        what = f"source {path} holds no train.parquet, labeled.parquet or the like{among} ({', '.join(KINDS)})"
        raise UserError("no_source", what, "name the tables train, pool and test, or let its path name one table")
    for table in found:
        if table not in [p for p, _ in known]:
            print(f"ingest: {printable(table.name)!r} is not read: its name is none of {', '.join(NAMES)}")
    return known


def _table(path: Path) -> Table:
    if path.suffix.lower() not in KINDS:
        what = f"source {path} is no manifest; known: {', '.join(KINDS)}"
        raise UserError("bad_manifest", what, "name a Parquet, CSV or JSON Lines table, or use kind: folder")
    return KINDS[path.suffix.lower()](path)


def _classes(manifests: list[Manifest]) -> list[str]:
    """The names in the source's order; without one, those that occur among the labels, sorted."""
    labeled = [manifest for manifest in manifests if manifest.origin == "labeled"]
    for manifest in labeled:
        if "label" not in manifest.table.columns:
            raise missing_column(manifest.table.path, "label", manifest.table.columns)
    labeled = labeled or manifests
    if ordered := [name for manifest in labeled for name in manifest.table.names or []]:
        return list(dict.fromkeys(ordered))
    found = {manifest.label(row) for manifest in labeled for row in manifest.table.read(with_images=False)} - {None}
    return sorted((name for name in found if name is not None), key=lambda name: (_number(name), name))


def _number(name: str) -> float:
    return int(name) if name.isascii() and name.isdecimal() else math.inf


def _mistakes(manifest: Manifest, classes: list[str], twins: Twins) -> Iterator[str]:
    """Rows whose label or path cannot be meant."""
    known = set(classes)
    for row in manifest.table.read(with_images=False):
        at = f"  {manifest.table.path.name}, row {row.number}:"
        line = f" (line {row.line})" if row.line else ""
        label = manifest.label(row)
        if label is None and isinstance(row.label, int) and row.label != -1:
            yield f"{at} label {row.label}, but the classes are numbered 0 to {len(manifest.names or []) - 1}{line}"
        elif label is not None and label not in known:
            yield f"{at} {unknown_class(label, classes)}{line}"
        elif label is not None and not _is_unicode(label):
            yield f"{at} label {label!r} is no valid Unicode{line}"
        elif label is not None and isinstance(row.label, str) and label != label.strip():
            yield f"{at} label {label!r} has a space at its end, and would be a class beside {label.strip()!r}{line}"
        if manifest.table.has_images:
            continue
        if reason := _bad_path(row.path or ""):
            yield f"{at} path {row.path!r} {reason}{line}"
        else:
            yield from (f"{at} {what}{line}" for what in twins.contradictions(manifest.named(row)))


def _is_unicode(text: str) -> bool:
    """JSON can spell half of a pair of surrogates, which is no character and cannot be written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bad_path(path: str) -> str | None:
    """Why a path is not one of a file under the manifest's folder."""
    return None if PLAIN.fullmatch(path) else _look_closely(path)


def _look_closely(path: str) -> str | None:
    windows = PureWindowsPath(path)
    if not path or "\0" in path:
        return "is empty or holds a NUL"
    if not _is_unicode(path):
        return "is no valid Unicode"
    if URL.match(path):
        return "is a URL; nothing is fetched"
    if path.startswith("~") or PurePosixPath(path).is_absolute() or windows.drive or windows.root:
        return "is absolute"
    if ".." in windows.parts:
        return "leaves the folder"
    return None


def _records(manifests: list[Manifest], twins: Twins) -> Iterator[Record]:
    for manifest in manifests:
        for row in manifest.table.read(with_images=True):
            yield _record(manifest, row, twins)


def _record(manifest: Manifest, row: Row, twins: Twins) -> Record:
    label, origin, table = manifest.label(row), manifest.origin_of(row), manifest.table
    path = printable(row.path or "")
    if table.has_images:
        path = f"{table.path.stem}#{row.number}" + (f"/{path}" if path else "")
    content: bytes | str | Refusal
    if not table.has_images and twins.is_repetition(manifest.named(row)):
        content = Refusal(IGNORED, "a row before it says the same")
    elif row.image is not None:
        content = row.image
    elif reason := _bad_path(row.path or ""):
        content = Refusal("bad_path", f"the row has no bytes and its path {reason}")
    else:
        file = manifest.root / (row.path or "")
        content = refuse_path(manifest.root, file) or str(file)
    if origin == "test" and label is None and not isinstance(content, Refusal):
        return Record(path, table.path.name, origin, label, Refusal("no_label", "a test image needs a label"), content)
    return Record(path, table.path.name, origin, label, content)
