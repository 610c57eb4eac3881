"""Checked records accepted or refused, one by one: each ends up in one of two tables, and the counts add up."""

from collections import Counter
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.images.check import Sound
from tasks.images.record import IGNORED, Record, Refusal
from tasks.images.sniff import wrong_extension
from tasks.images.supervise import Checked

TEXT, NUMBER = pa.string(), pa.int32()
CODED = ("place", "origin", "format", "mode", "label", "reason")
ACCEPTED = pa.schema(
    [pa.field(name, TEXT) for name in ("image_id", "path", "place", "origin", "format", "mode", "label")]
    + [pa.field(name, NUMBER) for name in ("width", "height")]
)
QUARANTINED = pa.schema([pa.field(name, TEXT) for name in ("path", "place", "origin", "reason", "detail", "image_id")])


class Rows:
    """A growing table. Full thousands are kept as Arrow, a fraction of what Python objects take; words that repeat are
    numbered meanwhile."""

    def __init__(self, schema: pa.Schema) -> None:
        coded = {name: pa.dictionary(pa.int32(), TEXT) for name in CODED if name in schema.names}
        self._schema = pa.schema([pa.field(f.name, coded.get(f.name, f.type)) for f in schema])
        self._batches, self._rows = list[pa.RecordBatch](), list[tuple[Any, ...]]()

    def add(self, *row: Any) -> None:
        """One row, its values in the schema's order."""
        self._rows.append(row)
        if len(self._rows) == 10_000:
            self._flush()

    def table(self) -> pa.Table:
        """All rows, once: they are let go. The columns in CODED are dictionaries; `_sorted` makes them text."""
        self._flush()
        table = pa.Table.from_batches(self._batches, self._schema)
        self._batches = []
        return table.unify_dictionaries()

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [() for _ in self._schema]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows.clear()


class Intake:
    """Takes checked records in, one by one, and keeps the count of everything."""

    def __init__(self, stored: set[bytes] | None = None, resolved: Mapping[str, str] | None = None) -> None:
        """`stored`: digests of images that lie in shards; those taken in are added. `resolved`: the classes of images
        that people decided on (tasks/resolutions.py)."""
        self._seen = set[bytes]() if stored is None else stored  # half the memory of their hexadecimal text
        self._resolved = resolved or {}
        self.total_of = Counter[str]()
        self._accepted, self._refused = Rows(ACCEPTED), Rows(QUARANTINED)
        self._conflicts: dict[str, set[str]] = {}
        self._ignored = self._many_frames = self._wrong_extension = 0

    def add(self, checked: Checked) -> bool:
        """Accept or refuse one record; True when it brings an image that was not seen before."""
        record, verdict, image_id = checked.record, checked.verdict, checked.image_id
        if isinstance(verdict, Refusal) and verdict.reason == IGNORED:
            self._ignored += 1
            return False
        self.total_of[record.place] += 1
        if isinstance(verdict, Refusal) or image_id is None:
            self._refuse(record, verdict, image_id)
            return False
        label = record.label and self._resolved.get(image_id, record.label)
        seen = verdict.format, verdict.mode, label, verdict.width, verdict.height
        self._accepted.add(image_id, record.path, record.place, record.origin, *seen)
        self._many_frames += verdict.many_frames
        self._wrong_extension += wrong_extension(record.path, verdict.format)
        digest = bytes.fromhex(image_id)
        is_new = digest not in self._seen
        self._seen.add(digest)
        return is_new

    def _refuse(self, record: Record, verdict: Sound | Refusal, image_id: str | None) -> None:
        assert isinstance(verdict, Refusal), f"{record.path} passed its check without being read"
        self._refused.add(record.path, record.place, record.origin or "", verdict.reason, verdict.detail, image_id)

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """Accepted and quarantined records, sorted. Rows that label the same bytes differently are quarantined, all."""
        accepted, refused = self._accepted.table(), self._refused.table()
        self._conflicts = _conflicts(accepted)
        if not self._conflicts:
            return _sorted(accepted), _sorted(refused)
        accepted = accepted.cast(ACCEPTED)
        refused = refused.cast(QUARANTINED)
        in_conflict = pc.and_(
            pc.is_in(accepted["image_id"], pa.array(sorted(self._conflicts), pa.string())),
            pc.is_valid(accepted["label"]),
        )
        conflicting = accepted.filter(in_conflict)
        names = [" and ".join(map(repr, sorted(self._conflicts[i]))) for i in texts(conflicting["image_id"])]
        details = pa.array([f"the same image is labeled {both}" for both in names], TEXT)
        reasons = pa.array(["label_conflict"] * len(details), TEXT)
        moved = conflicting.append_column("detail", details).append_column("reason", reasons).select(QUARANTINED.names)
        refused = pa.concat_tables([refused, moved])
        return _sorted(accepted.filter(pc.invert(in_conflict))), _sorted(refused)

    def orphans(self, accepted: pa.Table) -> set[str]:
        """Images that no accepted record refers to any more, because of a conflict."""
        conflicts = pa.array(sorted(self._conflicts), pa.string())
        return set(self._conflicts) - set(conflicts.filter(pc.is_in(conflicts, accepted["image_id"])).to_pylist())

    def summary(self, accepted: pa.Table, refused: pa.Table) -> dict[str, Any]:
        """The counts; what came in is what was accepted plus what was quarantined (C7)."""
        files_in = self.total_of.total()
        if files_in != accepted.num_rows + refused.num_rows:
            raise AssertionError(f"{files_in} files in, {accepted.num_rows} accepted, {refused.num_rows} quarantined")
        images = pc.count_distinct(accepted["image_id"]).as_py()
        return {
            "files_in": files_in,
            "accepted": accepted.num_rows,
            "quarantined": refused.num_rows,
            "images": images,
            "duplicates": accepted.num_rows - images,
            "origin": counts(accepted["origin"]),
            "reasons": counts(refused["reason"]),
            "ignored": self._ignored,
            "wrong_extension": self._wrong_extension,
            "many_frames": self._many_frames,
        }


def _conflicts(accepted: pa.Table) -> dict[str, set[str]]:
    """Images under more than one label, with these labels."""
    labels = accepted.select(["image_id", "label"]).filter(pc.is_valid(accepted["label"]))
    labels = labels.set_column(1, "label", labels["label"].cast(TEXT))
    rows = labels.group_by("image_id").aggregate([("label", "distinct")])
    several: Any = pc.greater(pc.list_value_length(rows["label_distinct"]), pa.scalar(1))
    torn: dict[str, list[Any]] = rows.filter(several).to_pydict()
    return {i: set(names) for i, names in zip(torn["image_id"], torn["label_distinct"], strict=True)}


def _sorted(table: pa.Table) -> pa.Table:
    """By image and path, column by column: of a million rows only one column is in memory twice."""
    order = pc.sort_indices(table, sort_keys=[("image_id", "ascending"), ("path", "ascending")])
    columns: dict[str, Any] = {}
    for field in table.schema:
        column: Any = table[field.name].take(order)
        table = table.drop_columns(field.name)
        is_coded = pa.types.is_dictionary(field.type)
        columns[field.name] = (column.cast(TEXT) if is_coded else column).combine_chunks()
    return pa.table(columns)


def texts(column: Any) -> list[str]:
    """A column of text without nulls as Python strings."""
    values: list[str] = column.to_pylist()
    return values


def counts(column: Any) -> dict[str, int]:
    """How often each text stands in a column, sorted."""
    return {
        row["values"]: row["counts"] for row in sorted(pc.value_counts(column).to_pylist(), key=itemgetter("values"))
    }
