"""Which files of a source were checked before: an unchanged one is not read again.

A pure cache under .work, because it holds times: without it every file is read once more and the artefacts come out the
same. Only sound images are remembered, so a refused file is looked at in every run: a permission may have been given,
a decoder mended. Letters: N files.
"""

import hashlib
import json
import os
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks import files
from tasks.errors import Integrity
from tasks.images.check import Sound
from tasks.images.record import Record, Refusal
from tasks.images.supervise import Checked
from tasks.images.worker import Seen

NUMBERS = ("key", "size", "mtime_ns", "inode")
ROW = Struct("<8sqqQ32si")  # what is remembered of a file: the columns of the table, in the order of `LAYOUT`
LAYOUT = np.dtype(
    [("key", ">u8"), ("size", "<i8"), ("mtime_ns", "<i8"), ("inode", "<u8"), ("image_id", "S32"), ("sound", "<i4")]
)


class _Known:
    """What stands in one index file: rows by the hash of the file's name."""

    def __init__(self, path: Path, key: str) -> None:
        table = _read(path)
        metadata: dict[bytes, bytes] = table.schema.metadata or {}
        self.run = int(metadata.get(b"run", b"0"))
        if metadata.get(b"key") != key.encode():
            table = table.slice(0, 0)
        self._key_N, *self._seen = (table[name].to_numpy() for name in NUMBERS)
        self._id_N = table["image_id"].combine_chunks()
        self._sound_N = table["sound"].to_numpy()
        self._verdicts = [Sound(**fields) for fields in json.loads(metadata[b"sounds"])] if table.num_rows else []

    def find(self, record: Record) -> tuple[Seen, bytes, Sound] | None:
        """The row of a file as it is now. Only one whose name is known is looked at: a new one costs no system call."""
        if not len(self._key_N):
            return None
        key = np.uint64(int.from_bytes(_key(record.path)))
        row = int(np.searchsorted(self._key_N, key))
        now = None
        while row < len(self._key_N) and self._key_N[row] == key:
            now = now or _seen(record.content)
            size, time, inode = (int(values[row]) for values in self._seen)
            if (size, time, inode) == now:
                return now, self._id_N[row].as_py(), self._verdicts[self._sound_N[row]]
            row += 1
        return None


class FileIndex:
    """The index an earlier run left and the one this run will leave: about 70 bytes a file, each."""

    def __init__(self, path: Path, key: str, rehash: float, interrupted: Path | None = None) -> None:
        """`key` stands for settings and code: what was found under another one is not used. `rehash` is the share of
        the unchanged files that is read all the same. `interrupted` is what `save` left of a run that was killed."""
        self._path, self._key, self._rehash = path, key, rehash
        self._before = _Known(path, key)
        self._run = self._before.run + 1
        self._own = _Known(interrupted, key) if interrupted else None
        self._next = bytearray()
        self._code_of: dict[Sound, int] = {}
        self._read_again: dict[str, tuple[Seen, bytes]] = {}

    def find(self, record: Record, stored: set[bytes]) -> Checked | None:
        """The check of an unchanged file whose image is `stored`; None when it has to be read."""
        for known, is_own in ((self._own, True), (self._before, False)):
            found = known.find(record) if known else None
            if found is None or found[1] not in stored:
                continue
            seen, image_id, verdict = found
            if isinstance(record.content, bytes):
                if hashlib.sha256(record.content).digest() != image_id:
                    return None
            elif not is_own and self._is_drawn(record.path):
                self._read_again[record.path] = seen, image_id
                return None
            self._keep(record.path, seen, image_id, verdict)
            return Checked(record, image_id.hex(), b"", verdict, seen)
        return None

    def note(self, checked: Checked) -> None:
        """Remember what was read. Integrity when a file is another one under the same size, time and inode."""
        path, verdict = checked.record.path, checked.verdict
        seen, before = self._read_again.pop(path, (None, b"")) if self._read_again else (None, b"")
        if seen is not None and checked.seen in (None, seen) and checked.image_id != before.hex():
            what = f"{path!r} has other content than when it was taken in, but the same size and time: "
            fix = "restore the file; or `touch` it, and it is taken in as it is now"
            raise Integrity("changed_silently", what + "a damaged disk, or an edit that kept the time", fix)
        if isinstance(verdict, Sound) and checked.image_id is not None and checked.seen is not None:
            self._keep(path, checked.seen, bytes.fromhex(checked.image_id), verdict)

    def write(self) -> None:
        """Leave the index for the next run."""
        self.save(self._path)

    def save(self, path: Path) -> None:
        """Write what this run has seen so far."""
        row_N = np.frombuffer(self._next, LAYOUT)
        order = np.argsort(row_N["key"], kind="stable")
        columns: dict[str, Any] = {
            name: row_N[name][order].astype(LAYOUT[name].newbyteorder("=")) for name in (*NUMBERS, "sound")
        }
        ids = pa.py_buffer(row_N["image_id"][order].tobytes())
        columns["image_id"] = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(order), [None, ids])
        about = {
            "key": self._key,
            "run": str(self._run),
            "sounds": json.dumps([sound._asdict() for sound in self._code_of]),
        }
        temporary = path.with_suffix(".tmp")
        files.write_table(pa.table(columns).replace_schema_metadata(about), temporary)
        temporary.replace(path)

    def _keep(self, path: str, seen: Seen, image_id: bytes, verdict: Sound) -> None:
        code = self._code_of.setdefault(verdict, len(self._code_of))
        self._next += ROW.pack(_key(path), *seen, image_id, code)

    def _is_drawn(self, path: str) -> bool:
        return int.from_bytes(_key(f"{self._run}:{path}")) < self._rehash * 2**64


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


def _seen(content: bytes | str | Refusal) -> Seen | None:
    if isinstance(content, bytes):
        return len(content), 0, 0
    if isinstance(content, Refusal):
        return None
    try:
        info = os.stat(content)
    except OSError:
        return None
    return info.st_size, info.st_mtime_ns, info.st_ino


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
