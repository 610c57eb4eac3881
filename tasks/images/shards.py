"""Writing data/images: encoded bytes in Parquet parts, in the order they come, so that a grown source adds parts.

A part is written, brought to disk and hashed by a thread, while the caller collects the next one.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files

PART_BYTES, PART_ROWS = 64 * 2**20, 20_000


class Shards:
    """Collects images and writes part-NNNNN.parquet, each at most 64 MiB (or one image) and 20,000 rows.

    Only parts from number `first` on are written or changed: earlier ones lie there for good. `written` are parts in
    `folder` that an interrupted run left; `settled` is called whenever one more is on disk.
    """

    def __init__(
        self,
        folder: Path,
        first: int = 0,
        written: files.Entries | None = None,
        settled: Callable[[files.Entries], None] | None = None,
    ) -> None:
        self._folder, self._settled = folder, settled
        self._rows: dict[str, bytes] = {}
        self.written = dict(written or {})  # the parts on disk, with size and sha256 as a commit record has them
        self._size, self._parts = 0, first + len(self.written)
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[files.Entries] | None = None

    def add(self, image_id: str, content: bytes) -> None:
        """One image that was not added before."""
        if self._rows and (len(self._rows) == PART_ROWS or self._size + len(content) > PART_BYTES):
            self._flush()
        self._rows[image_id] = content
        self._size += len(content)

    def close(self) -> None:
        """Write what is collected, and wait until all of it is on disk."""
        if self._rows:
            self._flush()
        self._wait()
        if self._thread:
            self._thread.shutdown()
            self._thread = None

    def move(self, target: Path) -> None:
        """Bring the parts to `target`, on the same file system."""
        for name in self.written:
            (self._folder / name).rename(target / name)

    def drop(self, ids: set[str]) -> None:
        """Take images out again that were added: the ones nobody refers to after the last record was seen."""
        if not ids:
            return
        wanted = pa.array(sorted(ids), pa.string())
        for name in list(self.written):
            path = self._folder / name
            table = files.read_table(path)
            kept = table.filter(pc.invert(pc.is_in(table["image_id"], wanted)))
            if kept.num_rows == 0:
                path.unlink()
                del self.written[name]
            elif kept.num_rows < table.num_rows:
                files.write_images(kept, path)
                self.written[name] = files.settle(path)

    def _flush(self) -> None:
        """Hand what is collected to the thread, once it is done with the part before: two are in memory at most."""
        self._wait()
        self._thread = self._thread or ThreadPoolExecutor(1)
        path = self._folder / f"part-{self._parts:05d}.parquet"
        self._writing = self._thread.submit(_write, self._rows, path)
        self._rows, self._size, self._parts = {}, 0, self._parts + 1

    def _wait(self) -> None:
        if self._writing:
            self.written |= self._writing.result()
            self._writing = None
            if self._settled:
                self._settled(self.written)


def _write(content_of: dict[str, bytes], path: Path) -> files.Entries:
    """One part, sorted by image_id."""
    ids = sorted(content_of)
    contents = pa.array([content_of[i] for i in ids], pa.binary())
    files.write_images(pa.table({"image_id": pa.array(ids, pa.string()), "bytes": contents}), path)
    return {path.name: files.settle(path)}
