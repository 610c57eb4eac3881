"""Two versions of a label table held against each other: each image's change has one kind, and the counts add up.

Letters: N images in either version. Ids are matched by Arrow; nothing is looped over in Python, so a million rows take
seconds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.lineage import lookup
from tasks.lineage.lookup import compute

COLUMNS = ("label", "confidence", "copies", "source", "reason")
# The first kind that fits is the one: what a person did is never listed as something a net did.
KINDS = {
    "human": "a person decided, or took a decision back",
    "added": "new in the pool",
    "removed": "no longer in the pool",
    "role": "the split gave it another role",
    "label": "another label",
    "accepted": "newly learnt from",
    "dropped": "no longer learnt from",
    "copies": "shown more or less often",
    "reason": "another reason not to learn from it",
    "confidence": "only the confidence",
}
SAME = len(KINDS)


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs. `rows`: image_id, kind and each of COLUMNS as NAME_before and NAME_after, sorted by image_id."""

    rows: pa.Table
    counts: dict[str, int]  # by kind, all of KINDS
    before: int  # images in each version
    after: int
    same: int

    def top(self, count: int, kinds: tuple[str, ...] = tuple(KINDS)) -> list[dict[str, Any]]:
        """The rows most worth a look: by kind in the order of KINDS, the most confident first."""
        order = list(KINDS)
        found: list[dict[str, Any]] = []
        for kind in sorted(kinds, key=order.index):
            part = self.of(kind)
            if part.num_rows and len(found) < count:
                sure = compute.max_element_wise(part["confidence_before"], part["confidence_after"])
                rows = part.append_column("sure", sure).sort_by([("sure", "descending"), ("image_id", "ascending")])
                found += rows.drop_columns("sure").slice(0, count - len(found)).to_pylist()
        return found

    def of(self, kind: str) -> pa.Table:
        """The rows of a kind."""
        return self.rows.filter(compute.equal(self.rows["kind"], kind))

    def pairs(self, kind: str) -> list[tuple[str | None, str | None, int]]:
        """How often one label became another among the changes of a kind, the most frequent first."""
        keys = ["label_before", "label_after"]
        groups = self.of(kind).group_by(keys).aggregate([([], "count_all")]).to_pylist()
        found = [(row["label_before"], row["label_after"], row["count_all"]) for row in groups]
        return sorted(found, key=lambda pair: (-pair[2], str(pair[0]), str(pair[1])))


def compare(before: Path, after: Path) -> Changes:
    """The changes from one label table to another. AssertionError if an image were counted twice or not at all."""
    old, new = (_read(path) for path in (before, after))
    rows = _joined(old, new)
    kind_N = _kinds(rows)
    counted = np.bincount(kind_N, minlength=SAME + 1).tolist()
    counts = dict(zip(KINDS, counted, strict=False))
    if counts["added"] - counts["removed"] != new.num_rows - old.num_rows or sum(counted) != rows.num_rows:
        raise AssertionError(f"{old.num_rows} images before, {new.num_rows} after, changes {counts}")
    changed = rows.filter(pa.array(kind_N < SAME)).append_column("kind", _names(kind_N[kind_N < SAME]))
    ordered = ["image_id", "kind", *(f"{name}_{side}" for name in COLUMNS for side in ("before", "after"))]
    sorted_rows = changed.select(ordered).sort_by("image_id")
    return Changes(sorted_rows, counts, old.num_rows, new.num_rows, counted[SAME])


def _read(path: Path) -> pa.Table:
    return lookup.read(path, ["image_id", *COLUMNS]).combine_chunks()


def _joined(old: pa.Table, new: pa.Table) -> pa.Table:
    """Every image of either once: those of the new table in its order, then those that only the old one has."""
    if old["image_id"].equals(new["image_id"]):
        at: Any = pa.array(np.arange(len(new)))
        gone = old.slice(0, 0)
    else:
        at = compute.index_in(new["image_id"], value_set=old["image_id"].combine_chunks())
        gone = old.filter(compute.invert(compute.is_in(old["image_id"], value_set=new["image_id"].combine_chunks())))
    columns: dict[str, Any] = {"image_id": _after(new["image_id"], gone["image_id"])}
    columns["was"] = _after(compute.is_valid(at), pa.array(np.ones(len(gone), bool)))
    columns["is"] = _after(pa.array(np.ones(len(new), bool)), pa.array(np.zeros(len(gone), bool)))
    for name in COLUMNS:
        columns[f"{name}_before"] = _after(old[name].take(at), gone[name])
        columns[f"{name}_after"] = _after(new[name], pa.nulls(len(gone), new[name].type))
    return pa.table(columns)


def _after(*columns: Any) -> Any:
    chunks = [chunk for c in columns for chunk in (c.chunks if isinstance(c, pa.ChunkedArray) else [c])]
    return pa.chunked_array(chunks, columns[0].type)


def _kinds(rows: pa.Table) -> np.ndarray:
    """The kind of each row as its place in KINDS; SAME where nothing differs."""
    was_N, is_N = (rows[name].to_numpy() for name in ("was", "is"))
    both_N = was_N & is_N
    differs = {name: both_N & _differs(rows[f"{name}_before"], rows[f"{name}_after"]) for name in COLUMNS}
    by_people_N = _is(rows["source_before"], "human") | _is(rows["source_after"], "human")
    aside_N = _is(rows["source_before"], "") | _is(rows["source_after"], "")
    copies_N = [compute.fill_null(rows[f"copies_{side}"], 0).to_numpy() for side in ("before", "after")]
    masks = {
        "human": by_people_N & (differs["label"] | differs["source"] | differs["reason"]),
        "added": ~was_N,
        "removed": ~is_N,
        "role": aside_N & (differs["source"] | differs["reason"]),
        "label": differs["label"],
        "accepted": both_N & (copies_N[0] == 0) & (copies_N[1] > 0),
        "dropped": both_N & (copies_N[0] > 0) & (copies_N[1] == 0),
        **{name: differs[name] for name in ("copies", "reason", "confidence")},
    }
    return np.select([masks[name] for name in KINDS], list(range(SAME)), SAME)


def _differs(one: Any, other: Any) -> np.ndarray:
    """Where two columns differ; null differs from any value and not from null."""
    unequal = compute.fill_null(compute.not_equal(one, other), False).to_numpy()
    is_N: np.ndarray = unequal | (compute.is_valid(one).to_numpy() != compute.is_valid(other).to_numpy())
    return is_N


def _is(column: Any, value: str) -> np.ndarray:
    is_N: np.ndarray = compute.fill_null(compute.equal(column, value), False).to_numpy()
    return is_N


def _names(kind_N: np.ndarray) -> Any:
    return pa.array(list(KINDS)).take(pa.array(kind_N))
