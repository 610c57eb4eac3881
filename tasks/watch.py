"""A source at one moment, to see whether anything in it changed meanwhile: a million files in a few numbers."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Look:
    """A source at one moment: a checksum of names, sizes, times and inodes by folder, and the youngest time."""

    folders: dict[str, int]
    youngest_ns: int


def look(path: Path) -> Look:
    """Stat everything in a source: a number for each folder, however many files lie in it."""
    youngest, is_folder = 0, path.is_dir()
    folders: dict[str, int] = {}
    for folder, _, names in os.walk(path) if is_folder else [(str(path.parent), [], [path.name])]:
        total = 0
        for name in ["", *names]:
            full = os.path.join(folder, name)
            try:
                info = os.stat(full, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if name:
                youngest = max(youngest, info.st_mtime_ns)
            # A sum, so that the order in which a directory lists its files does not matter. A single file's folder does
            # not count: others may write there.
            if name or is_folder:
                seen = f"{info.st_ino} {info.st_size} {info.st_mtime_ns} ".encode() + os.fsencode(name)
                total += int.from_bytes(hashlib.blake2b(seen, digest_size=16).digest())
        folders[folder if is_folder else str(path)] = total
    return Look(folders, youngest)
