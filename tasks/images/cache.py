"""Decoded images kept under .work/decoded: what was decoded once is read back. Deleting it costs time and nothing else.

    .work/decoded/<form>/<sha256 of the part>.u8     rows x [C, H, W] bytes, then rows x uint32 (CRC-32 of each row)

`form` hashes the image settings, the code of tasks/images and the decoders' versions, so no two forms ever mix. A row
counts only while its CRC fits, and 0 means that it was never written: a kill, a torn write or a flipped bit costs
decoding that row again. So no file needs a commit record, and two writers, who write the same bytes, need no lock.

Files are read by pread, never mapped: a file cut short under a map would kill the process. The file is sparse, so a
stage that reads 50 labeled images of a part does not pay for the others.
"""

import itertools
import os
import shutil
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tasks import files, params

HOME = files.WORK / "decoded"
DECODERS = ("pillow", "opencv-python-headless")


def form_of(image: params.Image) -> str:
    """What decides how an image's bytes become pixels, as a short hash."""
    code = {path.name: files.sha256_file(path) for path in sorted(Path(__file__).parent.glob("*.py"))}
    decoders = {name: version(name) for name in DECODERS}
    return files.digest({"image": image.model_dump(), "code": code, "decoders": decoders})[:16]


class Cache:
    """The decoded parts of one form, at most `limit` bytes on disk; the longest unused part goes first.

    Parts used by this process are never dropped for others of it: a pool larger than the limit is served in part on
    every pass, instead of each part being dropped just before its turn.
    """

    def __init__(self, image: params.Image, limit: int, home: Path = HOME) -> None:
        self._folder, self._limit, self._home = home / form_of(image), limit, home
        self._shape = (image.channels, image.size, image.size)
        self._in_use: set[Path] = set()
        self._room = 0
        self._is_off = limit <= 0

    def keep(self, keys: set[str]) -> None:
        """Drop what other settings or code made, and the parts that are gone."""
        if self._is_off or not self._home.is_dir():
            return
        for folder in self._home.iterdir():
            if folder != self._folder:
                shutil.rmtree(folder, ignore_errors=True)
        for path in self._folder.glob("*"):
            if path.stem not in keys:
                path.unlink(missing_ok=True)

    def part(self, key: str, rows: int) -> "Part | None":
        """The decoded rows of the part with this hash, perhaps none yet; None when the cache is off or has no room."""
        if self._is_off:
            return None
        path = self._folder / f"{key}.u8"
        try:
            part = Part(path, rows, self._shape)
            os.utime(path)
            self._in_use.add(path)
            self._room = self._limit - self._size()
        except OSError as error:
            self._switch_off(error)
            return None
        return part

    def write(self, part: "Part", row_R: np.ndarray, pixel_RCHW: np.ndarray) -> None:
        """Keep decoded rows if there is room; a full disk switches the cache off and never stops a stage."""
        if self._is_off or not len(row_R) or not self._make_room(pixel_RCHW.nbytes + 4 * len(row_R)):
            return
        try:
            part.write(row_R, pixel_RCHW)
        except OSError as error:
            self._switch_off(error)

    def _make_room(self, wanted: int) -> bool:
        """Whether `wanted` bytes more are within the limit, once the longest unused parts are gone."""
        if wanted > self._room:
            others = [path for path in self._home.glob("*/*") if path not in self._in_use]
            self._room = self._limit - self._size()
            for path in sorted(others, key=_last_use):
                if wanted <= self._room:
                    break
                self._room += _disk_bytes(path)
                path.unlink(missing_ok=True)
        if wanted > self._room:
            return False
        self._room -= wanted
        return True

    def _size(self) -> int:
        return sum(map(_disk_bytes, self._home.glob("*/*")))

    def _switch_off(self, error: OSError) -> None:
        self._is_off = True
        print(f"decoded images are not kept from here on: {error}", flush=True)


class Part:
    """The file of one part: made empty where there is none, made anew where its length is wrong."""

    def __init__(self, path: Path, rows: int, shape: tuple[int, int, int]) -> None:
        self._path, self._rows, self._shape = path, rows, shape
        self._row_bytes = int(np.prod(shape))
        length = rows * (self._row_bytes + 4)
        if not path.is_file() or path.stat().st_size != length:
            if path.is_file():
                print(f"{path} has another length than it was made with; its images are decoded again", flush=True)
            self._make(length)
        self._file = os.open(path, os.O_RDWR)
        self._crc_N = np.zeros(rows, np.uint32)
        os.preadv(self._file, [self._crc_N], rows * self._row_bytes)  # type: ignore[list-item]

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def read(self, row_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pixels [R, C, H, W] of ascending rows, and which of them are there and undamaged."""
        pixel_RCHW = np.empty((len(row_R), *self._shape), np.uint8)
        is_good_R = self._crc_N[row_R] != 0
        for start, end in _runs(row_R, is_good_R):
            os.preadv(self._file, [pixel_RCHW[start:end]], int(row_R[start]) * self._row_bytes)  # type: ignore[list-item]
        present = np.flatnonzero(is_good_R)
        found = crc_of(pixel_RCHW, present, row_R)
        is_damaged = found != self._crc_N[row_R[present]]
        if is_damaged.any():
            is_good_R[present[is_damaged]] = False
            print(f"{self._path}: {is_damaged.sum()} images are damaged and decoded again", flush=True)
        return pixel_RCHW, is_good_R

    def write(self, row_R: np.ndarray, pixel_RCHW: np.ndarray) -> None:
        """Write ascending rows, each row's CRC after its pixels."""
        everything = np.ones(len(row_R), bool)
        for start, end in _runs(row_R, everything):
            _write_all(self._file, pixel_RCHW[start:end], int(row_R[start]) * self._row_bytes)
        self._crc_N[row_R] = crc_of(pixel_RCHW, np.arange(len(row_R)), row_R)
        first, last = int(row_R[0]), int(row_R[-1]) + 1
        _write_all(self._file, self._crc_N[first:last], self._rows * self._row_bytes + 4 * first)

    def _make(self, length: int) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        with temporary.open("wb") as stream:
            stream.truncate(length)
        temporary.replace(self._path)


def crc_of(pixel_RCHW: np.ndarray, wanted: np.ndarray, row_R: np.ndarray) -> np.ndarray:
    """CRC-32 of the wanted pictures. It starts from the row's number: a row at a wrong place does not pass."""
    rows = row_R[wanted].tolist()
    return np.array([zlib.crc32(pixel_RCHW[i], n) for i, n in zip(wanted.tolist(), rows, strict=True)], np.uint32)


def _runs(row_R: np.ndarray, is_wanted_R: np.ndarray) -> list[tuple[int, int]]:
    """Stretches [start, end) of wanted places whose rows follow each other: each is one read or write."""
    place = np.flatnonzero(is_wanted_R)
    if not len(place):
        return []
    breaks = np.flatnonzero((np.diff(row_R[place]) != 1) | (np.diff(place) != 1)) + 1
    edges = [0, *breaks.tolist(), len(place)]
    return [(int(place[a]), int(place[b - 1]) + 1) for a, b in itertools.pairwise(edges)]


def _write_all(descriptor: int, array: np.ndarray, offset: int) -> None:
    data = memoryview(array.tobytes())
    while data:
        done = os.pwrite(descriptor, data, offset)
        data, offset = data[done:], offset + done


def _disk_bytes(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
