"""Where an image came from, what it is for and why: source, role in the split, copies, contradictions, refusals.

Sealed files are not opened. That an image is a test image follows from its having no other role: every image of the
catalog has exactly one (tasks/roles.py), and the others stand in data/split.
"""

from typing import Any

import pyarrow as pa

from tasks import files
from tasks.lineage import lookup
from tasks.lineage.lookup import Row
from tasks.lineage.names import REFUSED, Subject, roots
from tasks.lineage.version import CATALOGS, Version, parts

SEALED = "sealed"
MOST = 10  # copies listed
WHY = {
    "labeled": "its source gives this label, and every net learns from it",
    "calib": "labeled, kept apart to measure how sure the nets may be (split.calib)",
    "gate": "labeled, kept apart to compare a student with the champion (split.gate)",
    "test": "sealed: no net learns from it, no decision rests on it; only evaluate and robustness read its label",
    "pool": "no source labels it: the teachers are asked",
    "pool_sealed": "split.labels left its label out: the teachers are asked; the label given is hidden truth, sealed",
    "near_held_out": "it looks like a held-out image, so no net may learn from it",
    "near_duplicate": "it looks like a labeled image, which stands for both",
    "conflict": "it, or a picture that looks the same, was given two labels: a person decides",
    "refused": "it is in quarantine: no net has seen it",
    "left": "no source holds it any more: the file was deleted or has other content now; its bytes are kept",
    "waiting": "taken in, and not split yet: `understudy run` goes on",
}


def describe(version: Version, subject: Subject) -> dict[str, Any]:
    """The facts about one image that do not depend on a round."""
    places, refused = _places(version, subject), _refusals(version, subject)
    role: dict[str, Any]
    if subject.image_id is None or not places:
        role = {"role": "refused" if any(r["now"] for r in refused) else "left", "label": None}
        role |= {"why": WHY[role["role"]]}
        copies = []
    else:
        role = _role(version, subject.image_id)
        copies = _copies(version, subject.image_id)
    kept_in = [] if places or subject.image_id is None else _kept_in(version, subject.image_id)
    return {"sources": places, "kept_in": kept_in, **role, "copies": copies, "quarantine": refused}


def role_of(version: Version, image_id: str) -> str:
    """One word: labeled, calib, gate, test, pool, near_held_out, near_duplicate, conflict or waiting."""
    return str(_role(version, image_id)["role"])


def _role(version: Version, image_id: str) -> dict[str, Any]:
    for name in ("labeled", "calib", "gate"):
        if row := lookup.row(version.file(files.SPLIT, f"{name}.parquet"), image_id):
            return {"role": name, "why": WHY[name], "label": row["label"]}
    if version.file(files.SPLIT, "pool.parquet") is None:
        return {"role": "waiting", "why": WHY["waiting"], "label": None}
    row = lookup.row(version.file(files.SPLIT, "pool.parquet"), image_id, ["image_id", "status"])
    given = _given(version, image_id)
    if row is None and not _split_saw_all(version):
        return {"role": "waiting", "why": WHY["waiting"], "label": SEALED if given else None}
    status = row["status"] if row else "held_out"
    if status in {"held_out", "duplicate"}:
        return {"role": "test", "why": WHY["test"], "label": SEALED}
    if status == "conflict":
        return {"role": status, "why": WHY[status], "label": None, "conflict": _conflict(version, image_id)}
    why = WHY["pool_sealed" if status == "pool" and given else status]
    return {"role": status, "why": why, "label": SEALED if given else None}


def _given(version: Version, image_id: str) -> bool:
    tables = [version.file(files.catalog(source), "labels.parquet") for source in version.below(CATALOGS)]
    return bool(lookup.rows([table for table in tables if table], image_id, ["image_id", "origin"]))


def _split_saw_all(version: Version) -> bool:
    """Whether the split gave a role to as many images as the catalogs hold: none was taken in after it."""
    tables = [version.file(files.catalog(source), "images.parquet") for source in version.below(CATALOGS)]
    ids = pa.chunked_array([c for t in tables if t for c in lookup.read(t, [lookup.KEY])[lookup.KEY].chunks])
    summary = version.file(files.SPLIT, files.SUMMARY)
    return bool(summary and files.read_json(summary).get("images") == lookup.compute.count_distinct(ids).as_py())


def _rows(version: Version, image_id: str) -> list[Row]:
    found = []
    for source in version.below(CATALOGS):
        table = version.file(files.catalog(source), "images.parquet")
        rows = lookup.rows([table] if table else [], image_id)
        found += [{"source": source, **row} for row in rows]
    return found


def _places(version: Version, subject: Subject) -> list[dict[str, Any]]:
    if subject.image_id is None:
        return []
    root = roots(version)
    found = []
    for row in _rows(version, subject.image_id):
        row.pop("row"), row.pop("image_id")
        at = root[row["source"]]
        found.append(row | {"on_disk": (at / row["path"]).is_file() if at.is_dir() else None, "root": at.as_posix()})
    return found


def _refusals(version: Version, subject: Subject) -> list[dict[str, Any]]:
    """What of it is, or once was, in quarantine."""
    asked = {"image_id": subject.image_id} if subject.image_id else {"path": subject.path}
    return [
        {"source": source, "now": name == REFUSED[0], **row}
        for source in version.below(files.quarantine("x").parent)
        for name in REFUSED
        for row in lookup.where(version.file(files.quarantine(source), name), asked)
    ]


def _kept_in(version: Version, image_id: str) -> list[str]:
    return [
        f"{files.images(source)}/{path.name}" if version.name == "workspace" else str(files.images(source))
        for source in version.below(files.IMAGES)
        for path in parts(version, files.images(source))
        if lookup.rows([path], image_id, ["image_id"])
    ]


def _copies(version: Version, image_id: str) -> list[dict[str, Any]]:
    """The pairs an image is in, nearest first; of two ids the one that is not its own."""
    table = version.file(files.SPLIT, "duplicates.parquet")
    rows = lookup.where(table, {"image_id": image_id, "match": image_id})
    found = [
        {"image_id": other, "kind": row["kind"], "distance": round(row["distance"], 4), "group": row["group"]}
        for row in sorted(rows, key=lambda row: (row["distance"], row["image_id"], row["match"]))
        for other in [row["match"] if row["image_id"] == image_id else row["image_id"]]
    ]
    return [copy | {"role": role_of(version, copy["image_id"])} for copy in found[:MOST]] + found[MOST:]


def _conflict(version: Version, image_id: str) -> list[dict[str, Any]]:
    """Every label given to it or to what looks the same, with its source and path."""
    table = version.file(files.SPLIT, "conflicts.parquet")
    pool = lookup.row(version.file(files.SPLIT, "pool.parquet"), image_id, ["image_id", "group"])
    group = (pool or {}).get("group") or image_id
    return lookup.where(table, {"group": group, "image_id": image_id})
