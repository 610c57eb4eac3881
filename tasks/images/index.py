"""Which files of a source were checked before: an unchanged one is not read again.

A pure cache under .work, because it holds times: without it every file is read once more and the artefacts come out the
same. Only sound images are remembered, so a refused file is looked at in every run: a permission may have been given,
a decoder mended. Letters: N files.
"""

import hashlib
import json
import os
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks import files
from tasks.errors import Integrity
from tasks.images.check import Sound
from tasks.images.record import Record, Refusal
from tasks.images.supervise import Checked

Seen = tuple[int, int, int]  # size, mtime_ns and inode; size, 0 and 0 of bytes that stand in a table
NUMBERS = ("key", "size", "mtime_ns", "inode")


class FileIndex:
    """The index an earlier run left and the one this run will leave: about 70 bytes a file, each."""

    def __init__(self, path: Path, key: str, rehash: float) -> None:
        """`key` stands for settings and code: what was found under another one is not used. `rehash` is the share of
        the unchanged files that is read all the same."""
        self._path, self._key, self._rehash = path, key, rehash
        table = _read(path)
        metadata: dict[bytes, bytes] = table.schema.metadata or {}
        self._run = int(metadata.get(b"run", b"0")) + 1
        if metadata.get(b"key") != key.encode():
            table = table.slice(0, 0)
        self._key_N, *self._seen = (table[name].to_numpy() for name in NUMBERS)
        self._id_N = table["image_id"].combine_chunks()
        self._sound_N = table["sound"].to_numpy()
        self._verdicts = [Sound(**fields) for fields in json.loads(metadata[b"sounds"])] if table.num_rows else []
        self._next = {name: array("Q" if name in {"key", "inode"} else "q") for name in NUMBERS}
        self._next_sound, self._next_ids = array("i"), bytearray()
        self._code_of: dict[Sound, int] = {}
        self._reading: dict[str, tuple[Seen, bytes | None]] = {}

    def find(self, record: Record, stored: set[bytes]) -> Checked | None:
        """The check of an unchanged file whose image is `stored`; None when it has to be read."""
        seen = _seen(record.content)
        if seen is None:
            return None
        row = self._row(record.path, seen)
        image_id = self._id_N[row].as_py() if row is not None else None
        if row is None or image_id not in stored:
            image_id = None
        elif isinstance(record.content, bytes):
            if hashlib.sha256(record.content).digest() == image_id:
                return self._known(record, row, image_id, seen)
            image_id = None
        elif not self._is_drawn(record.path):
            return self._known(record, row, image_id, seen)
        self._reading[record.path] = (seen, image_id)
        return None

    def note(self, checked: Checked) -> None:
        """Remember what was read. Integrity when a file is another one under the same size, time and inode."""
        path, verdict = checked.record.path, checked.verdict
        seen, before = self._reading.pop(path, (None, None))
        if seen is None:
            return
        readable = not isinstance(verdict, Refusal) or verdict.reason != "unreadable"
        if before is not None and readable and checked.image_id != before.hex():
            what = f"{path!r} has other content than when it was taken in, but the same size and time: "
            fix = "restore the file; or `touch` it, and it is taken in as it is now"
            raise Integrity("changed_silently", what + "a damaged disk, or an edit that kept the time", fix)
        if isinstance(verdict, Sound) and checked.image_id is not None:
            self._keep(path, seen, bytes.fromhex(checked.image_id), verdict)

    def write(self) -> None:
        """Leave the index for the next run."""
        order = np.argsort(np.frombuffer(self._next["key"], np.uint64), kind="stable")
        columns: dict[str, Any] = {
            name: np.frombuffer(values, np.uint64 if values.typecode == "Q" else np.int64)[order]
            for name, values in self._next.items()
        }
        ids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(order), [None, pa.py_buffer(self._next_ids)])
        columns |= {"image_id": ids.take(order), "sound": np.frombuffer(self._next_sound, np.int32)[order]}
        about = {
            "key": self._key,
            "run": str(self._run),
            "sounds": json.dumps([sound._asdict() for sound in self._code_of]),
        }
        temporary = self._path.with_suffix(".tmp")
        files.write_table(pa.table(columns).replace_schema_metadata(about), temporary)
        temporary.replace(self._path)

    def _row(self, path: str, seen: Seen) -> int | None:
        if not len(self._key_N):
            return None
        key = np.uint64(_number(path))
        row = int(np.searchsorted(self._key_N, key))
        while row < len(self._key_N) and self._key_N[row] == key:
            if tuple(int(values[row]) for values in self._seen) == seen:
                return row
            row += 1
        return None

    def _known(self, record: Record, row: int, image_id: bytes, seen: Seen) -> Checked:
        verdict = self._verdicts[self._sound_N[row]]
        self._keep(record.path, seen, image_id, verdict)
        return Checked(record, image_id.hex(), b"", verdict)

    def _keep(self, path: str, seen: Seen, image_id: bytes, verdict: Sound) -> None:
        for name, value in zip(NUMBERS, (_number(path), *seen), strict=True):
            self._next[name].append(value)
        self._next_ids += image_id
        self._next_sound.append(self._code_of.setdefault(verdict, len(self._code_of)))

    def _is_drawn(self, path: str) -> bool:
        return _number(f"{self._run}:{path}") < self._rehash * 2**64


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException):  # none yet, or damaged: everything is read again
        types: dict[str, pa.DataType] = {
            "key": pa.uint64(),
            "size": pa.int64(),
            "mtime_ns": pa.int64(),
            "inode": pa.uint64(),
        }
        types |= {"image_id": pa.binary(32), "sound": pa.int32()}
        return pa.table({name: pa.array([], kind) for name, kind in types.items()})


def _seen(content: bytes | Path | Refusal) -> Seen | None:
    if isinstance(content, bytes):
        return len(content), 0, 0
    if isinstance(content, Refusal):
        return None
    try:
        info = os.stat(content)
    except OSError:
        return None
    return info.st_size, info.st_mtime_ns, info.st_ino


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
