"""The lineage of each image under review as FiftyOne shows it: the group of fields that `understudy why` says in words.

Whole columns at once, from the label table, the split, the catalogs and the ledgers: no look-up an image.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tasks import files
from tasks.lineage import lookup, opinions, people
from tasks.lineage.origin import WHY
from tasks.lineage.version import Workspace

FIELD = "lineage"
TEXTS = {
    "role": "What the split made of the image, and why",
    "origin": "Source and path",
    "near": "Near copies: distance and id of each",
    "teacher": "The net that was asked: its artefact and the first digits of its hash",
    "said": "All that people said of it, in every ledger",
}
NUMBERS = {"threshold": "What the label's class had to reach; empty where it is closed or unknown"}
COUNTS = {"rank": "Place among all images of its label, the most confident first", "of_class": "Images of its label"}
NAMES = (*TEXTS, *NUMBERS, *COUNTS)
SIDEBAR = [f"{FIELD}.{name}" for name in ("role", "origin", "teacher", "threshold", "rank", "of_class", "near", "said")]


def added(rows: pd.DataFrame, round_: str) -> pd.DataFrame:
    """The rows with a column `lineage.NAME` for each of NAMES; they have image_id, path, label, confidence, reason."""
    here, columns = Workspace(), dict[str, Any]()
    label = rows["label"]
    at_least = {name: opinions.threshold(here, round_, name) for name in label.dropna().unique()}
    columns["threshold"] = label.map({name: (about or {}).get("value") for name, about in at_least.items()})
    columns["rank"], columns["of_class"] = _ranks(rows)
    net = opinions.named_teacher(here, round_)
    columns["teacher"] = f"{net['artefact']} {net['hash'][:16]}" if net else None
    columns |= _origins(rows)
    columns["near"] = rows["image_id"].map(_near())
    columns["said"] = rows["image_id"].map({i: "; ".join(said) for i, said in people.everything().items()})
    return rows.assign(**{f"{FIELD}.{name}": columns[name] for name in NAMES})


def declare(fo: Any, data: Any) -> None:
    """The fields with their descriptions, not to be edited."""
    kind = fo.EmbeddedDocumentField
    words = "Where the image came from, and how its label came about"
    data.add_sample_field(FIELD, kind, embedded_doc_type=fo.DynamicEmbeddedDocument, description=words)
    for names, inner in ((TEXTS, fo.StringField), (NUMBERS, fo.FloatField), (COUNTS, fo.IntField)):
        for name, words in names.items():
            data.add_sample_field(f"{FIELD}.{name}", inner, description=words, read_only=True)


def document(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The group of one image as FiftyOne keeps it, from a row in which None stands for what is not known."""
    values = {name: row[f"{FIELD}.{name}"] for name in NAMES}
    counts = {name: None if values[name] is None else int(values[name]) for name in COUNTS}
    return {"_cls": "DynamicEmbeddedDocument", **values, **counts}


def key() -> list[str]:
    """What the fields rest on beside the label table: the data set is made anew when it changes."""
    ledgers = [files.sha256_file(path) for path in sorted(people.LEDGERS.glob("*.csv"))]
    return [files.manifest_hash(files.SPLIT), *ledgers]


def _ranks(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The rank of `understudy why` for every row with a label, and how many share it."""
    sure = np.where(rows["reason"] == "human_label", opinions.BY_PEOPLE, rows["confidence"])
    order = rows.assign(sure=sure).sort_values(["sure", "image_id"], ascending=[False, True]).groupby("label")
    return order.cumcount().add(1).where(rows["label"].notna()), rows.groupby("label")["label"].transform("size")


def _origins(rows: pd.DataFrame) -> dict[str, Any]:
    """Where each image lies, and why it is in the pool; that a label was given is told, the label is not."""
    here = Workspace()
    source, given = dict[str, str](), set[str]()
    for name in here.below(files.catalog("x").parent):
        for table, take in (("images.parquet", source), ("labels.parquet", given)):
            if path := here.file(files.catalog(name), table):
                ids = lookup.read(path, [lookup.KEY])[lookup.KEY].to_pylist()
                take.update(dict.fromkeys(ids, name) if isinstance(take, dict) else ids)  # type: ignore[arg-type]
    why = np.where(rows["image_id"].isin(given), f"pool: {WHY['pool_sealed']}", f"pool: {WHY['pool']}")
    place = rows["image_id"].map(source).astype(object).fillna("?")  # of no image it would be one of numbers
    return {"role": why, "origin": place + ": " + rows["path"].astype(object).fillna("?")}


def _near() -> dict[str, str]:
    """image_id → its near copies in words, nearest first."""
    path = Workspace().file(files.SPLIT, "duplicates.parquet")
    found: dict[str, list[tuple[float, str]]] = {}
    for row in lookup.read(path).to_pylist() if path else ():
        if row["kind"] != "exact":
            for one, other in ((row["image_id"], row["match"]), (row["match"], row["image_id"])):
                found.setdefault(one, []).append((row["distance"], f"{row['distance']:.3f} {other[:12]}"))
    return {image_id: "; ".join(text for _, text in sorted(pairs)) for image_id, pairs in found.items()}
