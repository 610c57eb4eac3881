"""A few rows of a large Parquet table by image_id: statistics of row groups first, then one column, then the rows."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from tasks.errors import Integrity

compute: Any = pyarrow.compute  # the stubs do not know what it takes
Row = dict[str, Any]
KEY = "image_id"
AT_ONCE = 1 << 12  # rows decoded at once on the way to the wanted ones


def rows(paths: Iterable[Path], image_id: str, columns: list[str] | None = None) -> list[Row]:
    """All rows of an image, with `row`: its place in its table. Tables sorted by image_id cost one row group."""
    found: list[Row] = []
    for path in paths:
        for group, first, hits in _found(path, image_id):
            with opened(path) as file:
                found += _take(file, group, hits, first, columns)
    return found


def row(path: Path | None, image_id: str, columns: list[str] | None = None) -> Row | None:
    """The row of an image in a table that holds it once at most; None for a table that is not there."""
    found = rows([path], image_id, columns) if path else []
    return found[0] if found else None


def row_of_any(paths: Iterable[Path], image_id: str, columns: list[str] | None = None) -> Row | None:
    """The row of an image in the first of some tables that holds it."""
    return next((found for path in paths if (found := row(path, image_id, columns))), None)


def holds(paths: Iterable[Path], image_id: str) -> bool:
    """Whether any of some tables has a row of an image."""
    return any(True for path in paths for _ in _found(path, image_id))


def where(path: Path | None, conditions: dict[str, Any], columns: list[str] | None = None) -> list[Row]:
    """The rows in which any of some columns has a value: the way into tables that are not sorted by it."""
    if path is None:
        return []
    names = list(conditions)
    table = read(path, names)
    masks = [compute.fill_null(compute.equal(table[name], conditions[name]), False) for name in names]
    mask = masks[0]
    for other in masks[1:]:
        mask = compute.or_(mask, other)
    hits = compute.indices_nonzero(mask)
    return list(read(path, columns).take(hits).to_pylist()) if len(hits) else []


def starting(paths: Iterable[Path], prefix: str) -> set[str]:
    """The ids that start with some hexadecimal digits."""
    found: set[str] = set()
    for path in paths:
        with opened(path) as file:
            for group in range(file.num_row_groups):
                if _may_hold(file, group, prefix, prefix + "g"):
                    ids = file.read_row_group(group, columns=[KEY])[KEY]
                    found.update(str(i) for i in ids.filter(compute.starts_with(ids, prefix)).to_pylist())
    return found


def read(path: Path, columns: list[str] | None = None, **options: Any) -> pa.Table:
    """A table or some of its columns; Integrity when it is damaged."""
    try:
        return pq.read_table(path, columns=columns, page_checksum_verification=True, **options)
    except (OSError, pa.ArrowInvalid) as error:
        raise _damaged(path, error) from None


def opened(path: Path) -> pq.ParquetFile:
    """A table to read piece by piece; Integrity when it is none."""
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise _damaged(path, error) from None


def _found(path: Path, image_id: str) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Row groups that hold an image: number, first row, and the places in it."""
    with opened(path) as file:
        first = 0
        for group in range(file.num_row_groups):
            if _may_hold(file, group, image_id) and (hits := _hits(path, path.stat().st_mtime_ns, group, image_id)):
                yield group, first, hits
            first += file.metadata.row_group(group).num_rows


@lru_cache(64)
def _hits(path: Path, mtime_ns: int, group: int, image_id: str) -> tuple[int, ...]:
    """Where an image stands in a row group. Remembered: a million ids take a quarter of a second to read."""
    with opened(path) as file:
        ids = file.read_row_group(group, columns=[KEY])[KEY]
    return tuple(compute.indices_nonzero(compute.equal(ids, image_id)).to_pylist())


def _may_hold(file: pq.ParquetFile, group: int, low: str, high: str | None = None) -> bool:
    """Whether ids from `low` to `high` (or just `low`) may stand in a row group, by its statistics."""
    about = file.metadata.row_group(group)
    columns = (about.column(n) for n in range(about.num_columns))
    stats: Any = next((column.statistics for column in columns if column.path_in_schema == KEY), None)
    if stats is None or not stats.has_min_max:
        return about.num_rows > 0
    return bool(stats.min <= (high or low) and stats.max >= low)


def _take(
    file: pq.ParquetFile, group: int, hits: Sequence[int], first: int, columns: list[str] | None
) -> Iterator[Row]:
    """Rows of a row group, decoding no further than the last of them."""
    if not hits:
        return
    start = 0
    for batch in file.iter_batches(AT_ONCE, row_groups=[group], columns=columns):
        for hit in hits:
            if start <= hit < start + batch.num_rows:
                yield {**batch.slice(hit - start, 1).to_pylist()[0], "row": first + hit}
        start += batch.num_rows
        if start > hits[-1]:
            return


def _damaged(path: Path, error: Exception) -> Integrity:
    return Integrity("damaged_table", f"{path}: {error}", "`understudy verify` says what is damaged and how to mend it")
