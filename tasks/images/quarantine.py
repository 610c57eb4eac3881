"""The quarantine of a source: what is refused now, since which run, and what was refused once.

A run is a number: 1 for the first ingest of a source, one more each time something came out differently. There is no
clock in it. A repeated run that finds the same leaves the same bytes. The numbers go on from the artefact that
is there; where it is missing or damaged they start at 1 again.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks import files
from tasks.errors import Integrity

TABLE, PAST, RUN = "quarantine.parquet", "past.parquet", "run.json"
TEXT: pa.DataType = pa.string()
NUMBER: pa.DataType = pa.int32()
COLUMNS = ("path", "place", "origin", "reason", "detail", "image_id")
FIELDS: list[tuple[str, pa.DataType]] = [(name, TEXT) for name in COLUMNS]
SCHEMA = pa.schema([*FIELDS, ("first_run", NUMBER), ("last_run", NUMBER)])
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Quarantine:
    """As an artefact holds it; `totals` counts all files of each place from which something is refused."""

    run: int
    state: str
    totals: dict[str, int]
    now: list[Row]
    past: list[Row]


def read(folder: Path) -> Quarantine | None:
    """The quarantine of a published artefact; None where there is none. Integrity when it was altered."""
    if not (folder / files.MANIFEST).exists():
        return None
    files.verify(folder)
    if not (folder / RUN).exists():  # of a version without runs
        return None
    now, past = (files.read_table(folder / name).to_pylist() for name in (TABLE, PAST))
    return Quarantine(**files.read_json(folder / RUN), now=now, past=past)


def write(folder: Path, accepted: pa.Table, refused: pa.Table, totals: Counter[str], before_at: Path) -> int:
    """Write the artefact into `folder`, going on from the one published at `before_at`; the number of this run.

    `accepted` and `refused` are all that came in, sorted; `refused` has COLUMNS.
    """
    before = _before(before_at)
    state = _state(accepted, refused)
    run = 1 if before is None else before.run + (before.state != state)
    first_run = {_key(row): row["first_run"] for row in [*before.past, *before.now]} if before else {}
    now = [
        {**row, "first_run": first_run.get(_key(row), run), "last_run": run}
        for row in refused.select(COLUMNS).to_pylist()
    ]
    still = set(map(_key, now))
    past = {_key(row): row for row in [*before.past, *before.now] if _key(row) not in still} if before else {}
    gone = sorted(past.values(), key=lambda row: (row["path"], row["reason"]))
    files.write_table(pa.Table.from_pylist(now, SCHEMA), folder / TABLE)
    files.write_table(pa.Table.from_pylist(gone, SCHEMA), folder / PAST)
    places = {row["place"] for row in now}
    files.write_json({"run": run, "state": state, "totals": {p: totals[p] for p in sorted(places)}}, folder / RUN)
    return run


def _before(folder: Path) -> Quarantine | None:
    try:
        return read(folder)
    except Integrity as error:
        print(f"ingest: {error.what}; the runs of its quarantine are counted from 1 again")
        return None


def _key(row: Row) -> tuple[str, str]:
    return row["path"], row["reason"]


def _state(accepted: pa.Table, refused: pa.Table) -> str:
    """sha256 of all that came in: equal when nothing changed."""
    sha256 = hashlib.sha256()
    for table in (accepted, refused):
        for batch in table.combine_chunks().to_batches(65536):
            sha256.update(batch.serialize())
    return sha256.hexdigest()
