"""What there is to review: one row an image, with what the teacher, the student and people said about it.

N images, C classes. No FiftyOne here: the view in the browser is made from these rows, and tests compare it with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from tasks import decisions, files
from tasks.decisions import Standing
from tasks.errors import Integrity, UserError
from tasks.params import Settings
from tasks.review import lineage

KEPT = ("kept", "kept_soft")
REFUSED = ("low_confidence", "class_full", "below_promise")
CARRIED = "earlier round: "  # how `decision` begins where an earlier round's ledger spoke


@dataclass(frozen=True)
class Reviewed:
    """The rows of a round, sorted by image_id, and the label table they show."""

    rows: pd.DataFrame
    classes: list[str]
    table: str  # files.manifest_hash of the label table


def load(round_: str, settings: Settings) -> Reviewed:
    """Every image of the pool the teacher of a round has seen; held-out images and duplicates are not for review.

    Columns: image_id; label, confidence, copies, source, reason as in the label table; teacher, entropy (nats),
    prob (of the teacher's class); student, student_prob (null before the next round is labeled); previous (label one
    round earlier); disagrees; decision (what people decided so far, in words); shown (the label `review` starts with);
    path; lineage.* (tasks/review/lineage.py).
    """
    if round_ not in settings.rounds:
        known = ", ".join(settings.rounds)
        near = decisions.nearest(round_, settings.rounds)
        raise UserError("unknown_round", f"{round_!r} is no round of params.yaml{near}", f"use one of {known}")
    record = published(files.labels(round_), f"curate@{round_}")
    published(files.SPLIT, "split")
    for source in settings.sources:
        published(files.catalog(source), f"ingest@{source}")
    if record["inputs"].get(files.probs(round_).as_posix()) != files.manifest_hash(files.probs(round_)):
        what = f"{files.labels(round_)} was not made from the {files.probs(round_)} that is there now"
        raise Integrity("stale_labels", what, f"`dvc repro curate@{round_}`")
    classes: list[str] = files.read_json(files.SPLIT / "classes.json")
    rows = _table(round_).merge(_opinions(round_, classes), on="image_id", validate="one_to_one")
    rows = _other_rounds(rows, round_, settings, classes)
    rows = _human(rows, decisions.in_force(files.decisions(round_), classes))
    rows = rows.merge(_paths(settings), on="image_id", how="left").sort_values("image_id", ignore_index=True)
    return Reviewed(lineage.added(rows, round_), classes, files.manifest_hash(files.labels(round_)))


def choose(rows: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The `limit` rows most worth a look, sorted by image_id.

    An image is worth as much as its best place in one of four queues: most uncertain of its class (entropy), least
    confident kept, most confident refused, most confident disagreement. So the limit shortens each saved view from its
    end and no class goes missing. What people decided before comes first.
    """
    queues = pd.DataFrame(
        {
            "uncertain": rows.groupby("shown")["entropy"].rank(ascending=False, method="first"),
            "kept": _place(rows, rows["reason"].isin(KEPT), ascending=True),
            "refused": _place(rows, rows["reason"].isin(REFUSED), ascending=False),
            "disagree": _place(rows, rows["disagrees"], ascending=False),
            "decided": np.where(rows["decision"] != "", 0.0, np.nan),
        }
    )
    best = queues.min(axis=1).sort_values(kind="stable").index[:limit]
    return rows.loc[best].sort_values("image_id", ignore_index=True)


def _place(rows: pd.DataFrame, member: pd.Series, ascending: bool) -> pd.Series:
    """The place (from 1) of the members in the order of confidence; null for the others."""
    return rows["confidence"].where(member).rank(ascending=ascending, method="first")


def published(directory: Path, stage: str) -> dict[str, Any]:
    """Verify an artefact and return its commit record; UserError names the stage that makes it when it is absent."""
    if not directory.is_dir():
        raise UserError("missing_input", f"{directory} does not exist", f"`dvc repro {stage}`, then review again")
    return files.verify(directory)


def _table(round_: str) -> pd.DataFrame:
    columns = ["image_id", "label", "confidence", "copies", "source", "reason"]
    return files.read_table(files.labels(round_) / "labels.parquet", columns).to_pandas()


def labels_now(round_: str) -> dict[str, str | None]:
    """image_id → label in the label table of today; None where it gives none."""
    columns = files.read_table(files.labels(round_) / "labels.parquet", ["image_id", "label"]).to_pydict()
    return dict(zip(columns["image_id"], columns["label"], strict=True))


def _paths(settings: Settings) -> pd.DataFrame:
    """image_id, path: the first path of each image in its source."""
    catalogs = (files.catalog(source) / "images.parquet" for source in settings.sources)
    found = pd.concat(files.read_table(path, ["image_id", "path"]).to_pandas() for path in catalogs)
    return found.sort_values(["image_id", "path"]).drop_duplicates("image_id")


def _opinions(round_: str, classes: Sequence[str]) -> pd.DataFrame:
    """image_id, teacher, prob, entropy: the best class of each row of probabilities, verified, read part by part."""
    published(files.probs(round_), f"label@{round_}")
    names = np.array(classes, dtype=object)
    parts = []
    for part in files.iter_tables(files.probs(round_)):
        prob_NC = pc.list_flatten(part["prob"]).to_numpy().reshape(len(part), len(classes))
        entropy_N = -(prob_NC * np.log(np.maximum(prob_NC, np.finfo(np.float32).tiny))).sum(axis=1)
        parts.append(
            pd.DataFrame(
                {
                    "image_id": part["image_id"].to_pandas(),
                    "teacher": names[prob_NC.argmax(axis=1)],
                    "prob": prob_NC.max(axis=1),
                    "entropy": entropy_N,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _other_rounds(rows: pd.DataFrame, round_: str, settings: Settings, classes: Sequence[str]) -> pd.DataFrame:
    """Add student, student_prob, previous and disagrees.

    A student that was promoted is the teacher of the next round, so its opinion stands in data/probs of that round.
    While there is none, or the student was held and the champion before labels on, `disagrees` compares the two
    teachers before: the one of this round with the one that taught it.
    """
    following = next((key for key, entry in settings.rounds.items() if entry.teacher == round_), None)
    earlier = settings.rounds[round_].teacher
    rows = rows.assign(student=None, student_prob=np.nan, previous=None, disagrees=False)
    if earlier != "r0":
        published(files.labels(earlier), f"curate@{earlier}")
        rows["previous"] = rows["image_id"].map(_table(earlier).set_index("image_id")["label"])
    if following and files.probs(following).is_dir() and _who_labeled(following) == round_:
        other = _aligned(_opinions(following, classes), rows)
        rows["student"], rows["student_prob"] = other["teacher"], other["prob"]
    elif earlier != "r0":
        other = _aligned(_opinions(earlier, classes), rows)
    else:
        return rows
    rows["disagrees"] = other["teacher"].notna() & (other["teacher"] != rows["teacher"])
    return rows


def _who_labeled(round_: str) -> str:
    net: str = files.read_json(files.probs(round_) / files.SUMMARY)["teacher"]
    return net


def _aligned(opinions: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Opinions in the order of the rows; null where there is none."""
    return opinions.set_index("image_id").reindex(rows["image_id"]).set_index(rows.index)


def _human(rows: pd.DataFrame, said: Standing) -> pd.DataFrame:
    """Add decision and shown: what the label table carries from earlier rounds, then the ledger of this one."""
    rejected = rows["reason"] == "human_rejected"
    disputed = rows["reason"] == decisions.CONFLICT
    carried = (rows["source"] == "human") & ~rejected & ~disputed
    rows["decision"] = ""
    rows.loc[carried, "decision"] = CARRIED + rows["label"]
    rows.loc[rejected, "decision"] = f"{CARRIED}reject"
    rows.loc[disputed, "decision"] = "conflict: in an earlier round"
    rows["shown"] = rows["label"].where(carried, rows["teacher"])
    place = pd.Series(rows.index, index=rows["image_id"])
    words = {image_id: decisions.conflict_in_words(voices) for image_id, voices in said.conflicts.items()}
    for image_id, text in (words | {i: decisions.in_words(d) for i, d in said.words.items()}).items():
        if image_id in place.index:
            at, word = place[image_id], said.words.get(image_id)
            rows.loc[at, "decision"] = text
            by_name = word is not None and word.action in decisions.NAMES_A_CLASS
            rows.loc[at, "shown"] = word.new if word is not None and by_name else rows.loc[at, "teacher"]
    return rows
