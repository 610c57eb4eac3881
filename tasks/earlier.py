"""What drift@rK keeps of a run for the next one: labels by image, a sample of what the teacher said, all runs so far.

The folder data/drift/rK is the stage's own output and what it reads first. It therefore holds what it was compared with
too: run again on the same inputs, the stage finds itself in the history, compares with the same earlier run once more
and writes the same bytes. Where the folder is gone, the next run is a first one.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tasks import files

compute: Any = pyarrow.compute
Column = Any
LABELS = ("label", "accepted", "human", "percent")
TABLE = pa.schema(
    [  # type: ignore[arg-type]  # the stubs do not know fields of different types in one list
        pa.field("image_id", pa.string()),
        pa.field("label", pa.int32()),  # index of the class; null where there is none
        pa.field("accepted", pa.bool_()),
        pa.field("human", pa.bool_()),
        pa.field("percent", pa.uint8()),  # confidence
        pa.field("before_label", pa.int32()),  # the same in the run before; `before_accepted` is null for new images
        pa.field("before_accepted", pa.bool_()),
        pa.field("before_human", pa.bool_()),
        pa.field("before_percent", pa.uint8()),
    ]
)


@dataclass(frozen=True, slots=True)
class Sample:
    """Softmax outputs of some pool images, (K, C), and whose they are."""

    teacher: str  # which net
    prob_KC: np.ndarray


@dataclass(frozen=True, slots=True)
class Earlier:
    """The run to compare with. `table` is None where there is none; its labels are indices of today's classes."""

    table: pa.Table | None = None  # image_id, label, accepted, human, percent
    sample: Sample | None = None
    history: list[dict[str, Any]] = field(default_factory=list)  # oldest first; its last entry is that run


def read(round_: str, key: str, classes: list[str], most: int) -> Earlier:
    """The run before the one with this key, and at most `most` runs. Integrity where the folder is damaged."""
    folder = files.drift(round_)
    if not folder.is_dir():
        return Earlier()
    files.verify(folder)
    stored = files.read_json(folder / "drift.json")
    history = files.read_json(folder / "history.json")
    again = history[-1]["key"] == key
    history = (history[:-1] if again else history)[-most:]
    table = files.read_table(folder / "pool.parquet")
    if again:
        table = table.filter(compute.is_valid(table["before_accepted"]))
        table = table.select(["image_id", *(f"before_{name}" for name in LABELS)])
    else:
        table = table.select(["image_id", *LABELS])
    table = table.rename_columns(["image_id", *LABELS])
    place = pa.array([classes.index(name) if name in classes else -1 for name in stored["classes"]], pa.int32())
    table = table.set_column(1, "label", place.take(table["label"].combine_chunks()))
    return Earlier(table if history else None, _sample(round_, stored, again, classes), history)


def _sample(round_: str, stored: dict[str, Any], again: bool, classes: list[str]) -> Sample | None:
    """The stored outputs of the run to compare with; None where they are of other classes."""
    run = "before" if again else "now"
    teacher = stored["teacher"][run]
    if teacher is None or stored["classes"] != classes:
        return None
    rows = files.read_table(files.drift(round_) / "sample.parquet")
    rows = rows.filter(compute.equal(rows["run"], run))
    prob_KC = compute.list_flatten(rows["prob"]).to_numpy().reshape(rows.num_rows, -1)
    return Sample(teacher, prob_KC)


def sample_table(now: Sample, before: Sample | None) -> pa.Table:
    """run (`before`, `now`), prob."""
    kept = [("before", before.prob_KC)] if before else []
    kept.append(("now", now.prob_KC))
    run = [name for name, prob_KC in kept for _ in range(len(prob_KC))]
    prob = np.concatenate([prob_KC for _, prob_KC in kept])
    column = pa.FixedSizeListArray.from_arrays(pa.array(prob.ravel(), pa.float32()), now.prob_KC.shape[1])
    return pa.table({"run": pa.array(run, pa.string()), "prob": column})


def joined(now: pa.Table, before: pa.Table | None) -> pa.Table:
    """Today's rows with what the run before said of the same images (TABLE)."""
    if before is None:
        columns = {f"before_{name}": pa.nulls(now.num_rows, TABLE.field(f"before_{name}").type) for name in LABELS}
    else:
        row = compute.index_in(now["image_id"], value_set=before["image_id"].combine_chunks())
        columns = {f"before_{name}": before[name].combine_chunks().take(row) for name in LABELS}
    for name, column in columns.items():
        now = now.append_column(name, column)
    return now.select(TABLE.names).cast(TABLE)
