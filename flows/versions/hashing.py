"""Hashes of many files at once: each is read one time, in threads (hashing does not hold the GIL)."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from tasks.progress import Progress

BLOCK = 1 << 20
OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")  # the name of a DVC object

AT_ONCE = 4096  # files handed to the threads together

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Hashed:
    """What a file holds; `error` says why it could not be read."""

    size: int
    md5: str
    sha256: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """How much was read in how many seconds."""

    size: int
    seconds: float

    def __str__(self) -> str:
        speed = self.size / 1e6 / max(self.seconds, 1e-3)
        return f"{self.size / 1e6:,.1f} MB in {self.seconds:.1f} s ({speed:,.0f} MB/s)"


def hash_file(path: Path) -> Hashed:
    """md5 and sha256 of a file, read once."""
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                md5.update(block)
                sha256.update(block)
                size += len(block)
    except OSError as error:
        return Hashed(size, "", "", error.strerror or type(error).__name__)
    return Hashed(size, md5.hexdigest(), sha256.hexdigest())


def hash_all(paths: Iterable[Path], what: str) -> tuple[dict[Path, Hashed], Rate]:
    """Every file by its path, with progress in MB."""
    sizes = {path: path.stat().st_size for path in paths if path.exists()}
    return in_threads(hash_file, sizes, what, os.cpu_count() or 1)


def in_threads(work: Callable[[T], R], sizes: Mapping[T, int], what: str, threads: int) -> tuple[dict[T, R], Rate]:
    """`work` for every key of `sizes` (bytes), with progress in MB."""
    begin, read, done, keys = time.monotonic(), 0, dict[T, R](), iter(sizes)
    total = sum(sizes.values())
    with Progress(total // 10**6, what, "MB") as progress, ThreadPoolExecutor(threads) as pool:
        while some := list(islice(keys, AT_ONCE)):
            for key, result in zip(some, pool.map(work, some), strict=True):
                done[key] = result
                read += sizes[key]
                progress.advance(read // 10**6 - progress.done)
    return done, Rate(total, time.monotonic() - begin)


def listing(content: bytes) -> dict[str, str] | None:
    """relpath → md5 of what DVC stores for a folder (an object named `….dir`); None when it is no such listing."""
    try:
        return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}
    except (ValueError, KeyError, TypeError):
        return None


def folder_md5(md5_of: Mapping[str, str]) -> str:
    """The name DVC gives to a folder with these files (relpath → md5)."""
    entries = [{"md5": md5, "relpath": name} for name, md5 in sorted(md5_of.items())]
    content = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"
