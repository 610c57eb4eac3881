"""Section `images`: the pool images most worth a look, as thumbnails."""

from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files, wording
from tasks.images.thumbnails import as_shown
from tasks.sections.material import Material

SHOWN_IMAGES = 16


def section(run: Material) -> dict[str, Any]:
    """Where the teacher was least sure and its label was learnt, where it was most sure and it was not."""
    table = run.tables[run.final]
    galleries = [
        _gallery("Least confident kept", table, ["kept", "kept_soft"], "ascending"),
        _gallery("Most confident refused", table, ["low_confidence", "class_full", "below_promise"], "descending"),
    ]
    shown = as_shown(files.IMAGES, {row["image_id"] for gallery in galleries for row in gallery["rows"]})
    for gallery in galleries:
        for row in gallery["rows"]:
            row |= {"image": shown[row["image_id"]], "reason": wording.REASONS[row["reason"]]}
    return {"galleries": galleries}


def _gallery(
    title: str, table: pa.Table, reasons: list[str], order: Literal["ascending", "descending"]
) -> dict[str, Any]:
    part = table.filter(pc.field("reason").isin(reasons))
    rows = part.sort_by([("confidence", order), ("image_id", "ascending")]).slice(0, SHOWN_IMAGES).to_pylist()
    return {"title": title, "of": part.num_rows, "rows": rows, "refused": "kept" not in reasons}
