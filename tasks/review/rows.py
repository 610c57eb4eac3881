"""What there is to review: one row an image, with what the teacher, the student and people said about it.

N images, C classes. No FiftyOne here: the view in the browser is made from these rows, and tests compare it with them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from tasks import decisions, files
from tasks.decisions import Decision, Standing
from tasks.errors import Integrity, UserError
from tasks.params import Settings
from tasks.review import lineage

FLOW = " -> "
KEPT = ("kept", "kept_soft")
REFUSED = ("low_confidence", "class_full", "below_promise")
CARRIED = "earlier round: "  # how `decision` begins where an earlier round's ledger spoke


@dataclass(frozen=True)
class Reviewed:
    """The rows of a round, sorted by image_id, and the label table they show."""

    rows: pd.DataFrame
    classes: list[str]
    table: str  # files.manifest_hash of the label table


def load(round_: str, settings: Settings, waiting: Sequence[Decision] = ()) -> Reviewed:
    """Every image of the pool the teacher of a round has seen; held-out images and duplicates are not for review.

    `waiting`: decisions that are in no ledger yet; they are shown like the others.

    Columns: image_id; label, confidence, copies, source, reason as in the label table; teacher, entropy (nats), margin
    and prob (of the teacher's class); student, student_prob (null before the next round is labeled); previous (label
    one round earlier); disagrees and flow ("cat -> dog", null where they agree); first_kept (the first round that
    learns from it); decision (what people decided so far, in words); shown (the label `review` starts with); path,
    image_source; lineage.* (tasks/review/lineage.py).
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
    rows["first_kept"] = _first_kept(rows, round_, settings)
    said = decisions.in_force(files.decisions(round_), classes)
    rows = _human(rows, said, {decision.image_id: decision for decision in waiting})
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
    """image_id, path, image_source: the first path of each image, and the source it lies in."""
    catalogs = {source: files.catalog(source) / "images.parquet" for source in settings.sources}
    tables = {source: files.read_table(path, ["image_id", "path"]).to_pandas() for source, path in catalogs.items()}
    found = pd.concat(table.assign(image_source=source) for source, table in tables.items())
    return found.sort_values(["image_id", "path"]).drop_duplicates("image_id")


def probabilities(round_: str, classes: Sequence[str]) -> Iterator[tuple[pd.Series, np.ndarray]]:
    """image_id and prob (N, C) of a round, verified, part by part."""
    published(files.probs(round_), f"label@{round_}")
    for part in files.iter_tables(files.probs(round_)):
        prob_NC = pc.list_flatten(part["prob"]).to_numpy().reshape(len(part), len(classes))
        yield part["image_id"].to_pandas(), prob_NC


def _opinions(round_: str, classes: Sequence[str]) -> pd.DataFrame:
    """image_id, teacher, prob, entropy, margin: the best class of each row of probabilities, read part by part."""
    names = np.array(classes, dtype=object)
    parts = []
    for ids, prob_NC in probabilities(round_, classes):
        second_N = np.partition(prob_NC, -2)[:, -2] if len(classes) > 1 else 0.0
        entropy_N = -(prob_NC * np.log(np.maximum(prob_NC, np.finfo(np.float32).tiny))).sum(axis=1)
        parts.append(
            pd.DataFrame(
                {
                    "image_id": ids,
                    "teacher": names[prob_NC.argmax(axis=1)],
                    "prob": prob_NC.max(axis=1),
                    "entropy": entropy_N,
                    "margin": prob_NC.max(axis=1) - second_N,
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
    rows = rows.assign(student=None, student_prob=np.nan, previous=None, disagrees=False, flow=None)
    earlier, other = settings.rounds[round_].teacher, compared(round_, settings)
    if earlier != "r0":
        published(files.labels(earlier), f"curate@{earlier}")
        rows["previous"] = rows["image_id"].map(_table(earlier).set_index("image_id")["label"])
    if other is None:
        return rows
    theirs, is_later = _aligned(_opinions(other, classes), rows), other != earlier
    if is_later:
        rows["student"], rows["student_prob"] = theirs["teacher"], theirs["prob"]
    rows["disagrees"] = theirs["teacher"].notna() & (theirs["teacher"] != rows["teacher"])
    before, after = (rows, theirs) if is_later else (theirs, rows)
    flow = before["teacher"].astype(str) + FLOW + after["teacher"].astype(str)
    rows["flow"] = flow.where(rows["disagrees"], None)
    return rows


def compared(round_: str, settings: Settings) -> str | None:
    """The round whose opinions stand beside this one's: the one its student labeled, else the one of its teacher."""
    following = next((key for key, entry in settings.rounds.items() if entry.teacher == round_), None)
    if following and files.probs(following).is_dir() and _who_labeled(following) == round_:
        return following
    earlier = settings.rounds[round_].teacher
    return earlier if earlier != "r0" else None


def _first_kept(rows: pd.DataFrame, round_: str, settings: Settings) -> pd.Series:
    """The first round, up to this one, that learns from each image; null where none does."""
    found = pd.Series(None, index=rows.index, dtype=object)
    for key in settings.rounds:
        if key != round_:
            published(files.labels(key), f"curate@{key}")
        table = rows if key == round_ else _table(key)
        kept = table["image_id"][table["copies"] > 0]
        found = found.where(found.notna() | ~rows["image_id"].isin(kept), key)
        if key == round_:
            break
    return found


def _who_labeled(round_: str) -> str:
    net: str = files.read_json(files.probs(round_) / files.SUMMARY)["teacher"]
    return net


def _aligned(opinions: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Opinions in the order of the rows; null where there is none."""
    return opinions.set_index("image_id").reindex(rows["image_id"]).set_index(rows.index)


def _human(rows: pd.DataFrame, said: Standing, waiting: dict[str, Decision]) -> pd.DataFrame:
    """Add decision and shown: what the label table carries from earlier rounds, then this round's ledger, then what
    waits to be written there."""
    rejected = rows["reason"] == "human_rejected"
    disputed = rows["reason"] == decisions.CONFLICT
    carried = (rows["source"] == "human") & ~rejected & ~disputed
    rows["decision"] = ""
    rows.loc[carried, "decision"] = f"{CARRIED}relabel: " + rows["label"]
    rows.loc[rejected, "decision"] = f"{CARRIED}reject"
    rows.loc[disputed, "decision"] = "conflict: in an earlier round"
    rows["shown"] = rows["label"].where(carried, rows["teacher"])
    place = pd.Series(rows.index, index=rows["image_id"])
    conflicts = {i: decisions.conflict_in_words(voices) for i, voices in said.conflicts.items() if i not in waiting}
    for image_id, text in conflicts.items():
        if image_id in place.index:
            rows.loc[place[image_id], ["decision", "shown"]] = text, rows.loc[place[image_id], "teacher"]
    for image_id, word in (said.words | waiting).items():
        if image_id in place.index:
            at = place[image_id]
            shown = word.new if word.action in decisions.NAMES_A_CLASS else rows.loc[at, "teacher"]
            rows.loc[at, ["decision", "shown"]] = decisions.in_words(word), shown
    return rows
