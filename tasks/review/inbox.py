"""What people told FiftyOne itself, by tags and in Annotate, and no sync has seen: kept on disk beside the clicks.

data/decisions/pending/rK.inbox.json, written within seconds while the App is open (tasks/review/app.py). FiftyOne's
database holds the same; the file is there for the day when somebody deletes the database. A data set that is built anew
starts with it.
"""

import json
from pathlib import Path
from typing import Any

from pymongo import UpdateOne

from tasks import files
from tasks.review import documents, spool
from tasks.review.corrections import Refused

Kept = dict[str, dict[str, Any]]  # image_id → shown, label, tags


def path(round_: str) -> Path:
    """Where it is kept."""
    return spool.path(round_).with_suffix(".inbox.json")


def latest(data: Any) -> object:
    """Changes whenever a sample does; None where there is none."""
    return data._sample_collection.find_one({}, {"last_modified_at": 1}, sort=[("last_modified_at", -1)])


def keep(round_: str, data: Any) -> None:
    """Write down every image that has a tag, or another label than the one it was shown with."""
    from fiftyone import ViewField as F

    unsaid = data.match((F("tags").length() > 0) | (F("review.label") != F("shown")))
    columns = unsaid.values(["image_id", "shown", "review.label", "tags"])
    rows = sorted(zip(*columns, strict=True))
    found = {i: {"shown": shown or "", "label": label or "", "tags": tags} for i, shown, label, tags in rows}
    home = path(round_)
    if found != _read(home):
        home.parent.mkdir(parents=True, exist_ok=True)
        files.replace_file(home, json.dumps(found, indent=1) + "\n")


def restore(round_: str, data: Any) -> tuple[Refused, ...]:
    """Put it back into a data set that was built anew; what was said of another label than the one shown now is
    returned instead. A class stands on its own."""
    kept = _read(path(round_))
    now = dict(zip(*data.select_by("image_id", list(kept)).values(["image_id", "shown"]), strict=True))
    writes, refused = [], []
    for image_id, row in kept.items():
        if image_id in now and (now[image_id] or "") == row["shown"]:
            new = {"review": documents.label(row["label"] or None), "tags": row["tags"]}
            writes.append(UpdateOne({"image_id": image_id}, {"$set": new}))
        elif image_id in now and row["label"] not in ("", row["shown"]):
            writes.append(UpdateOne({"image_id": image_id}, {"$set": {"review": documents.label(row["label"])}}))
        else:
            said = ", ".join([*row["tags"], row["label"]]).strip(", ")
            why = f"{said or 'reject'!r} was said of {row['shown']!r}, and it shows {now.get(image_id)!r}: look again"
            refused.append(Refused(image_id, why))
    if writes:
        data._bulk_write(writes)
    return tuple(refused)


def _read(home: Path) -> Kept:
    """What is there; nothing where the file is not, or is not whole: the database has it all."""
    try:
        found: Kept = json.loads(home.read_text())
    except (OSError, ValueError):
        return {}
    return found
