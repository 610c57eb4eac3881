"""What each round made of an image: probabilities, confidence, threshold, rank, reason, and whose word it was.

Letters: N rows of a label table, C classes. One row is read of each table; for the rank three short columns of one.
"""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from tasks import files
from tasks.lineage import lookup
from tasks.lineage.lookup import compute
from tasks.lineage.version import Version, identity, is_net, parts, record, rounds, teacher

COLUMNS = ["image_id", "label", "confidence", "copies", "source", "reason"]
ACCEPTED = ("kept", "kept_soft", "human_label")
PASSED = (*ACCEPTED, "class_full", "source_cap")
BY_PEOPLE = 2.0  # ranks above every confidence, as in tasks/core/curation.py


def of(version: Version, image_id: str, only: str | None = None) -> list[dict[str, Any]]:
    """Every round (or one) whose label table has a row for the image, the first round first."""
    order, wanted = classes(version), [round_ for round_ in rounds(version) if only in {None, round_}]
    return [found for round_ in wanted if (found := _of_round(version, round_, image_id, order))]


def classes(version: Version) -> list[str]:
    """The classes in the order of the probabilities."""
    path = version.file(files.SPLIT, "classes.json")
    return list(files.read_json(path)) if path else []


def _of_round(version: Version, round_: str, image_id: str, order: list[str]) -> dict[str, Any] | None:
    table = version.file(files.labels(round_), "labels.parquet")
    row = lookup.row(table, image_id, COLUMNS)
    if row is None or table is None:
        return None
    place = row.pop("row")
    about = record(version, files.labels(round_))
    found: dict[str, Any] = {"round": round_, **{name: row[name] for name in COLUMNS[1:]}}
    found["table"] = {"artefact": files.labels(round_).as_posix(), "hash": identity(version, files.labels(round_))}
    found["table"] |= {"understudy": about.get("version")}
    if not row["source"]:  # the split took it out: no teacher was asked
        return found
    found["probabilities"] = probabilities(version, round_, image_id, order)
    found["teacher"] = named_teacher(version, round_)
    found["threshold"] = threshold(version, round_, row["label"])
    found["rank"] = rank(table, place, row["label"]) if row["label"] is not None else None
    return found


def probabilities(version: Version, round_: str, image_id: str, order: list[str]) -> dict[str, float] | None:
    """The stored ones, the likeliest class first; None where there are none."""
    row = lookup.row_of_any(parts(version, files.probs(round_)), image_id, ["image_id", "prob"])
    if row is None:
        return None
    best = sorted(zip(order, row["prob"], strict=True), key=lambda pair: -pair[1])
    return dict(best)


def named_teacher(version: Version, round_: str) -> dict[str, Any] | None:
    """The net that gave the probabilities: its artefact and hash by their commit record, and what its own record says.

    `here`: whether the artefact under that name still is the one that was asked.
    """
    found = teacher(version, round_)
    if found is None:
        return None
    artefact, hash_ = found
    here = is_net(version, artefact, hash_)
    named = {"key": artefact.name, "artefact": artefact.as_posix(), "hash": hash_, "here": here}
    about = record(version, files.probs(round_))
    named["understudy"] = (record(version, artefact) if here else about).get("version")
    card = version.file(artefact, "card.json") if here else None
    # The champion after a round may be the net of an earlier one: its card says which.
    return named | {"net": (files.read_json(card).get("key") if card else None) or artefact.name}


def threshold(version: Version, round_: str, label: str | None) -> dict[str, Any] | None:
    """What the label's class had to reach, how that came about, and what held-out labels say of it (tasks/accept.py).

    `value` is None where the class is closed to all but people's labels. Tables of before thresholds.json have only
    what the settings said. None where nothing is known.
    """
    path = version.file(files.labels(round_), "thresholds.json")
    if path is not None and label is not None:
        about = files.read_json(path)
        mine = about.pop("classes")[label]
        return {"value": mine.pop("threshold"), **about, **mine}
    settings = record(version, files.labels(round_)).get("params", {}).get(f"rounds.{round_}.curate")
    if settings is None or label is None:
        return None
    fixed = settings.get("adaptive", "none") == "none"
    return {"value": settings["threshold"] if fixed else None, "how": "fixed" if fixed else settings["adaptive"]}


def rank(table: Path, place: int, label: str) -> dict[str, int]:
    """The image's place (from 1) among all of its label, by confidence, people's labels first, ties by image_id.

    With it how many images have the label, how many of these pass the threshold, and how many are learnt from.
    """
    columns = lookup.read(table, ["label", "confidence", "reason"], read_dictionary=["label", "reason"])
    is_ours_N = _equals(columns["label"], [label])
    reason_N = columns["reason"]
    is_accepted_N, is_passed_N = _equals(reason_N, ACCEPTED), _equals(reason_N, PASSED)
    key_N = np.where(_equals(reason_N, ["human_label"]), BY_PEOPLE, columns["confidence"].to_numpy())
    before = (is_ours_N & (key_N > key_N[place])).sum() + (is_ours_N & (key_N == key_N[place]))[:place].sum()
    return {
        "place": int(before) + 1,
        "of_class": int(is_ours_N.sum()),
        "passed": int((is_ours_N & is_passed_N).sum()),
        "accepted": int((is_ours_N & is_accepted_N).sum()),
    }


def _equals(column: Any, values: Sequence[str]) -> np.ndarray:
    """Which rows of a column of words are one of a few; null is none. (A value set would make Arrow import pandas.)"""
    masks = (compute.fill_null(compute.equal(column, value), False) for value in values)
    is_N: np.ndarray = reduce(compute.or_, masks).to_numpy()
    return is_N
