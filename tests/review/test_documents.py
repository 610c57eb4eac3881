"""The samples of a review against what FiftyOne itself writes."""

from typing import Any

import pandas as pd

from tasks.review import dataset, documents, lineage, pictures, rows
from tests.review.conftest import Workspace

SAID = (("teacher", "prob"), ("student", "student_prob"))


def test_documents_written_in_bulk_are_fiftyones_own(fo: Any, review: Workspace) -> None:
    """Sample by sample what FiftyOne writes for the same values, but for its ids, times and random numbers."""
    reviewed = rows.load("r1", review.settings)
    shown = reviewed.rows.assign(queue_rank=None, queue_reason=None).astype({"queue_rank": object})
    shown.loc[3, ["queue_rank", "queue_reason"]] = [1, "random"]
    written = list(pictures.write(shown["image_id"].tolist(), pictures.folder("r1")))
    ours = {document["image_id"]: document for document in documents.of("r1", shown, written)}
    data = fo.Dataset()
    dataset._declare(fo, data)
    by_id = shown.set_index("image_id", drop=False)
    for image_id, picture in written[:6]:
        row = {name: None if pd.isna(value) else value for name, value in by_id.loc[image_id].items()}
        label = {name: fo.Classification(label=row[name], confidence=row[sure]) for name, sure in SAID if row[name]}
        inside = {name: row[f"lineage.{name}"] for name in lineage.NAMES}
        inside |= {name: int(inside[name]) for name in lineage.COUNTS if inside[name] is not None}
        plain = {
            name: row[name] for name in (*documents.TEXTS, *documents.NUMBERS, *documents.COUNTS) if name != "round"
        }
        sample = fo.Sample(
            filepath=str(picture.path),
            metadata=dataset.picture_metadata(fo, picture),
            review=fo.Classification(label=row["shown"]),
            lineage=fo.DynamicEmbeddedDocument(**inside),
            round="r1",
            disagrees=bool(row["disagrees"]),
            **label,
            **plain,
        )
        assert _bare(ours[image_id]) == _bare(data._make_dict(sample))


def _bare(document: Any) -> Any:
    """Without what is another each time."""
    if not isinstance(document, dict):
        return document
    other = {"_id", "_dataset_id", "_rand", "created_at", "last_modified_at"}
    return {name: _bare(value) for name, value in document.items() if name not in other}
