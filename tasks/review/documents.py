"""The samples of a review as FiftyOne keeps them in MongoDB, written in bulk.

FiftyOne's own objects cost some milliseconds each; a hundred thousand of them are minutes. These are the documents it
would have written (a test holds one against the other), so its version is pinned.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from random import Random
from typing import Any

import pandas as pd
from bson import ObjectId

from tasks.review import lineage
from tasks.review.pictures import Picture

BATCH = 2000  # documents sent at once
Document = dict[str, Any]
LABELS = {
    "teacher": "What the teacher says. Fixed: your correction goes into `review`",
    "review": "Your label. It starts as the label shown; edit it in Annotate, or clear it to reject the image",
    "student": "What this round's student says, as the next round's teacher",
}
TEXTS = {
    "image_id": "sha256 of the image file",
    "reason": "Why the image is learnt from or not",
    "decision": "What people decided so far",
    "previous": "The label one round earlier",
    "flow": "From one round's class to the next one's, where they differ",
    "first_kept": "The first round that learns from the image",
    "source": "Who gave the label",
    "path": "Where the image lay in its source",
    "image_source": "The source it lies in",
    "round": "The round under review",
    "queue_reason": "Why it stands in the queue: random, disagreement, atypical, copies, rare_class or threshold",
    "shown": "The label `review` started with; --sync compares them",
}
NUMBERS = {
    "confidence": "Of the label, from 0 to 1",
    "entropy": "Of the teacher's probabilities, in nats: its doubt",
    "margin": "Between the teacher's first and second class: small = torn between two",
}
COUNTS = {
    "copies": "How often the image stands in an epoch; 0 = not at all",
    "queue_rank": "Its place in the queue, 1 first; empty = not queued",
}


def insert(data: Any, documents: Iterable[Document]) -> None:
    """Write all documents into an empty data set that declares their fields.

    One batch is on its way to mongod while the next one is made. None waits for mongod's journal: what is written after
    them does (tasks/review/database.py), and the journal keeps the order.
    """
    from pymongo import WriteConcern

    data.media_type = "image"
    target = data._sample_collection.with_options(write_concern=WriteConcern(w=1, j=False))
    now, dice, documents = datetime.now(UTC), Random(0), iter(documents)
    about = {"_dataset_id": data._doc.id, "created_at": now, "last_modified_at": now}
    with ThreadPoolExecutor(1) as sender:
        sent: Future[Any] | None = None
        while some := list(islice(documents, BATCH)):
            for document in some:
                document.update(about, _rand=0.999 + 0.001 * dice.random())  # the range FiftyOne draws from
            if sent is not None:
                sent.result()
            sent = sender.submit(target.insert_many, some, ordered=False)
        if sent is not None:
            sent.result()


def of(round_: str, rows: pd.DataFrame, pictures: Iterable[tuple[str, Picture]]) -> Iterator[Document]:
    """The document of each picture, as they come."""
    known = rows.astype(object).where(rows.notna(), None)
    by_id = dict(zip(known["image_id"], known.to_dict("records"), strict=True))
    for image_id, picture in pictures:
        yield _document(round_, by_id[image_id], picture)


def _document(round_: str, row: Mapping[Any, Any], picture: Picture) -> Document:
    """FiftyOne leaves out what is not known of a sample, but for what lies inside another field."""
    plain: dict[str, Any] = {name: row[name] for name in (*TEXTS, *NUMBERS, "disagrees") if name != "round"}
    plain |= {name: int(row[name]) for name in COUNTS if row[name] is not None}
    document: Document = {
        "filepath": str(picture.path),
        "tags": [],
        "metadata": {
            "_cls": "ImageMetadata",
            "size_bytes": picture.size,
            "mime_type": picture.mime,
            "width": picture.width,
            "height": picture.height,
            "num_channels": picture.channels,
        },
        "_media_type": "image",
        "teacher": label(row["teacher"], row["prob"]),
        "review": label(row["shown"]),
        "student": label(row["student"], row["student_prob"]),
        "round": round_,
        "lineage": lineage.document(row),
    }
    return {name: value for name, value in (document | plain).items() if value is not None}


def label(name: str | None, confidence: float | None = None) -> Document | None:
    """A Classification."""
    if name is None:
        return None
    sure = {} if confidence is None else {"confidence": confidence}
    return {"_id": ObjectId(), "_cls": "Classification", "tags": [], "label": name, **sure}
