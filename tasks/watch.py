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
    if not path.is_dir():
        # A single file's folder does not count: others may write there.
        info = os.stat(path, follow_symlinks=False) if os.path.lexists(path) else None
        return Look({str(path): _number([_line(path.name, info)] if info else [])}, info.st_mtime_ns if info else 0)
    youngest, folders, waiting = 0, dict[str, int](), [str(path)]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                found = list(entries)
            lines = [_line("", os.stat(os.path.join(folder, "")))]
        except OSError:  # vanished, or closed to us: whoever reads the source says so
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
                continue
            try:
                info = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            youngest = max(youngest, info.st_mtime_ns)
            lines.append(_line(entry.name, info))
        folders[folder] = _number(lines)
    return Look(folders, youngest)


def _line(name: str, info: os.stat_result) -> str:
    return f"{name}\0{info.st_ino} {info.st_size} {info.st_mtime_ns}"


def _number(lines: list[str]) -> int:
    """A checksum; sorted, because the order in which a directory lists its files says nothing."""
    return int.from_bytes(hashlib.blake2b(os.fsencode("\0".join(sorted(lines))), digest_size=16).digest())
