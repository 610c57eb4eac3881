"""What a source hands to `ingest`: one record per file or row, with its id, label and bytes travelling together."""

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Origin = Literal["labeled", "pool", "test"]

IGNORED = "ignored"  # the reason of well-known junk (.DS_Store, Thumbs.db): counted, never reported as bad


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not taken in: a reason code to count and a sentence for a person."""

    reason: str
    detail: str
    sound: Any = None  # decode.Sound where the bytes are good all the same, and a person may take them


@dataclass(slots=True)  # not frozen: that takes four times as long to make, and there is one for every file
class Record:
    """One file or row of a source. `path` is relative to the source and valid UTF-8, whatever the file's name is."""

    path: str
    place: str  # the folder or manifest it comes from, to sum up what was refused
    origin: Origin | None  # None: it lies where nothing belongs
    label: str | None
    content: bytes | str | Refusal  # encoded image, the file to read it from, or why that must not be tried
    withheld: bytes | str | None = None  # what a refusal keeps back although it could be read
    released: str | None = None  # the reason of a refusal that a person overruled


@dataclass(frozen=True, slots=True)
class Source:
    """A source opened for reading: class names in order, number of records, and the records in a fixed order."""

    classes: list[str]
    total: int
    records: Iterator[Record]


def printable(path: str | Path) -> str:
    """A path as valid UTF-8: bytes that are none are written as \\xNN."""
    if isinstance(path, str) and path.isascii():
        return path
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def unknown_class(name: str, classes: list[str]) -> str:
    """The end of a message about a class without labeled images."""
    near = difflib.get_close_matches(name, classes, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    known = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
    return f"no labeled image has the class {name!r}{hint} (known: {known})"


def refuse_path(root: Path, path: Path) -> Refusal | None:
    """Why a path under `root` (resolved) must not be opened: a link may lead to anything, opening a FIFO hangs."""
    target = path.resolve()
    if not target.is_relative_to(root):
        return Refusal("link_outside_root", "a link that leaves the source's folder")
    if target.is_dir() and path.is_symlink():
        return Refusal("link_to_folder", "a link to a folder; its files are read where they are")
    if target.exists() and not target.is_file():
        return Refusal("not_regular", "a folder, pipe, socket or device")
    return None
