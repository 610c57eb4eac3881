"""No net learns from what is held out, or from a copy of it: checked before it learns, without one test label.

`split` writes the ids of the test images beside what is sealed (data/test_ids). `labeled` checks what the teacher
learns from, `drift@rK` what a student would; `gate@rK` and `evaluate@rK` check once more what they judge by.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute

from tasks import files
from tasks.errors import Integrity
from tasks.stage import Stage

compute: Any = pyarrow.compute  # the stubs do not know what they take
Ids = Any  # an Arrow array of image ids
NEVER_LEARNT = ("test", "gate", "calib")
SHOWN_IDS = 20


def refuse_learnt(stage: Stage, place: str, learnt: Ids) -> None:
    """Integrity when an image to be learnt from is held out in data/split, or is a near copy of one that is.

    `stage` has taken data/split as an input already; the ids of the test images can stop it and no more.
    """
    test = _ids(stage.input(files.TEST_IDS, only=[]) / "test.parquet")
    held_out = {"test": test} | {name: _ids(files.SPLIT / f"{name}.parquet") for name in NEVER_LEARNT[1:]}
    for name, ids in held_out.items():
        refuse(name, ids, place, learnt)
        if name != "test":
            refuse("test", test, f"the {name} set", ids)
    copies = files.read_table(files.SPLIT / "duplicates.parquet", ["image_id", "group", "match", "match_role"])
    ours = compute.is_in(copies["image_id"], value_set=pa.concat_arrays([_one(ids) for ids in held_out.values()]))
    holds = compute.or_(ours, compute.is_in(copies["match_role"], value_set=pa.array(NEVER_LEARNT)))
    groups = compute.unique(copies["group"].filter(holds))
    near = copies.filter(compute.is_in(copies["group"], value_set=groups))
    refuse("held_out", pa.concat_arrays([_one(near[name]) for name in ("image_id", "match")]), place, learnt, "copies")


def refuse(name: str, held_out: Ids, place: str, learnt: Ids, what_they_are: str = "images") -> None:
    """Integrity `leaked_NAME` when an image is in both, with the first ids."""
    if len(leaked := learnt.filter(compute.is_in(learnt, value_set=_one(held_out)))):
        ids = sorted(compute.unique(leaked).to_pylist())
        more = f" and {len(ids) - SHOWN_IDS} more" if len(ids) > SHOWN_IDS else ""
        of = {"test": "of the test set", "held_out": "of images that are held out"}.get(name, f"of the {name} set")
        what = f"{len(ids)} {what_they_are} {of} are also in {place}: {', '.join(ids[:SHOWN_IDS])}"
        fix = f"rm -r {files.SPLIT} {files.SEALED}, then `dvc repro`: the split is drawn again"
        raise Integrity(f"leaked_{name}", what + more, fix)


def learnt_of(round_: str) -> Ids:
    """The pool images that the label table of a round gives to a student."""
    table = files.read_table(files.labels(round_) / "labels.parquet", ["image_id", "copies"])
    return table["image_id"].filter(compute.greater(table["copies"], 0))


def _ids(path: Any) -> Ids:
    return files.read_table(path, ["image_id"])["image_id"]


def _one(column: Ids) -> Ids:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
