"""Section `images`: the images most worth a look, as thumbnails: the doubtful, and those that surprise."""

from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tasks import decisions, files, wording
from tasks.images.thumbnails import as_shown
from tasks.sections.material import Material

SHOWN_IMAGES = 16
REFUSED = ["low_confidence", "class_full", "below_promise"]
Row = dict[str, Any]  # image_id, label, confidence or None, note or None
Order = Literal["ascending", "descending"]


def section(run: Material) -> dict[str, Any]:
    """Labels the teacher was unsure or sure of, labels that moved, people against the teacher, tests that nets fail."""
    table = run.tables[run.final]
    galleries = [
        _by_confidence("Least confident kept", table, ["kept", "kept_soft"], "ascending"),
        _by_confidence("Most confident refused", table, REFUSED, "descending"),
        *_moved(run),
        _people(run),
        *_tests(run),
    ]
    found = [gallery for gallery in galleries if gallery["rows"] or gallery["always"]]
    shown = as_shown(files.IMAGES, {row["image_id"] for gallery in found for row in gallery["rows"]})
    for gallery in found:
        gallery["rows"] = [
            row | {"image": shown[row["image_id"]]} for row in gallery["rows"] if row["image_id"] in shown
        ]
    return {"galleries": found}


def _gallery(title: str, why: str, rows: list[Row], of: int, *, always: bool = False) -> dict[str, Any]:
    return {"title": title, "why": why, "rows": rows, "of": of, "always": always}


def _by_confidence(title: str, table: pa.Table, reasons: list[str], order: Order) -> dict[str, Any]:
    part = table.filter(pc.field("reason").isin(reasons))
    rows = _first(part, order)
    notes = [None if row["reason"] == "kept" else wording.REASONS[row["reason"]] for row in rows]
    noted = [row | {"note": note} for row, note in zip(rows, notes, strict=True)]
    return _gallery(title, "Pool images of the last round.", noted, part.num_rows, always=True)


def _first(table: pa.Table, order: Order) -> list[Row]:
    """The first images by confidence; ties by id, so that the page is always the same."""
    rows: list[Row] = (
        table.sort_by([("confidence", order), ("image_id", "ascending")]).slice(0, SHOWN_IMAGES).to_pylist()
    )
    return rows


def _moved(run: Material) -> list[dict[str, Any]]:
    """The labels the teachers of the last two rounds do not agree on; the later one's most confident first."""
    if len(run.rounds) < 2:
        return []
    before, after = run.rounds[-2:]
    old = run.tables[before].select(["image_id", "label"]).rename_columns(["image_id", "old"])
    both = run.tables[after].join(old, "image_id").filter(pc.field("label") != pc.field("old"))
    moved = both.filter(pc.field("source") != "human")
    rows = [row | {"note": f"was {row['old']}"} for row in _first(moved, "descending")]
    why = f"The teacher of {after} contradicts that of {before}; the most confident first."
    return [_gallery("Labels that moved", why, rows, moved.num_rows)]


def _people(run: Material) -> dict[str, Any]:
    """What people changed or rejected in this run, the last word on an image, latest first."""
    said: dict[str, Row] = {}
    for round_ in run.rounds:
        for row in decisions.read(path) if (path := run.plain(files.decisions(round_))).exists() else []:
            said.pop(row.image_id, None)
            if row.action == "reject" or (row.action == "relabel" and row.new != row.old):
                note = f"teacher: {row.old or 'none'}"
                label = row.new or "rejected"
                said[row.image_id] = {"image_id": row.image_id, "label": label, "confidence": None, "note": note}
    pool = set(run.tables[run.final]["image_id"].to_pylist()) if said else set()
    rows = [row for row in reversed(said.values()) if row["image_id"] in pool]
    why = "What a person says no teacher can overrule."
    return _gallery("People against the teacher", why, rows[:SHOWN_IMAGES], len(rows))


def _tests(run: Material) -> list[dict[str, Any]]:
    """Test images that all three nets get wrong alike, and those the student lost against supervised-only training."""
    if not run.scores[run.final]["test"]:
        return []
    said = files.read_table(files.scores(run.final) / "predictions.parquet")
    truth, base, teacher, student = (pc.field(name) for name in ("label", "baseline", "teacher", "student"))
    alike = said.filter((student != truth) & (student == teacher) & (student == base))
    lost = said.filter((student != truth) & (base == truth))
    same = "Test images that all nets call the same, and that are said to be something else: hard, or labeled wrongly."
    worse = "Test images that supervised-only training gets right and the final student does not."
    return [
        _gallery("All nets against the label", same, _failed(alike), alike.num_rows),
        _gallery("Lost by self-training", worse, _failed(lost), lost.num_rows),
    ]


def _failed(table: pa.Table) -> list[Row]:
    rows = table.sort_by("image_id").slice(0, SHOWN_IMAGES).to_pylist()
    return [
        {"image_id": r["image_id"], "label": r["label"], "confidence": None, "note": f"student: {r['student']}"}
        for r in rows
    ]
