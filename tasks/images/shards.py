"""Writing data/images: encoded bytes in Parquet parts, in the order they come, so that a grown source adds parts."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files

PART_BYTES, PART_ROWS = 64 * 2**20, 20_000


class Shards:
    """Collects images and writes part-NNNNN.parquet, each at most 64 MiB (or one image) and 20,000 rows.

    Only parts from number `first` on are written or changed: earlier ones lie there for good.
    """

    def __init__(self, folder: Path, first: int = 0) -> None:
        self._folder = folder
        self._rows: dict[str, bytes] = {}
        self._size, self._parts = 0, first
        self.written: list[Path] = []

    def add(self, image_id: str, content: bytes) -> None:
        """One image that was not added before."""
        if self._rows and (len(self._rows) == PART_ROWS or self._size + len(content) > PART_BYTES):
            self.close()
        self._rows[image_id] = content
        self._size += len(content)

    def close(self) -> None:
        """Write what is collected, sorted by image_id."""
        if not self._rows:
            return
        ids = sorted(self._rows)
        contents = pa.array([self._rows[i] for i in ids], pa.binary())
        table = pa.table({"image_id": pa.array(ids, pa.string()), "bytes": contents})
        self.written.append(self._folder / f"part-{self._parts:05d}.parquet")
        files.write_images(table, self.written[-1])
        self._rows, self._size, self._parts = {}, 0, self._parts + 1

    def drop(self, ids: set[str]) -> None:
        """Take images out again that were added: the ones nobody refers to after the last record was seen."""
        if not ids:
            return
        wanted = pa.array(sorted(ids), pa.string())
        for path in list(self.written):
            table = files.read_table(path)
            kept = table.filter(pc.invert(pc.is_in(table["image_id"], wanted)))
            if kept.num_rows == 0:
                path.unlink()
                self.written.remove(path)
            elif kept.num_rows < table.num_rows:
                files.write_images(kept, path)
