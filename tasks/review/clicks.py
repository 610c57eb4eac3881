"""What a click in the App does: written down first (tasks/review/spool.py), then shown in FiftyOne.

Every function takes the data set of a round and works on a whole selection at once. It knows nothing of buttons and
keys: those are in tasks/review/plugin.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks import ledger
from tasks.core.audit import clopper_pearson
from tasks.decisions import Decision, in_words, nearest
from tasks.errors import UserError
from tasks.review import dataset, spool
from tasks.review.rows import CARRIED
from tasks.review.spool import Click

WHO = "UNDERSTUDY_REVIEWER"  # set by `understudy review --who NAME` for the App's server
QUEUE = "queue_reason"  # why an image stands in the budgeted queue, where there is one
RANDOM = "random"  # the slice of the queue that an estimate may rest on
BATCH = 50
MOST_AT_ONCE = 200  # accepted without being selected
SEEN = ["image_id", "shown", "review.label", "decision"]


@dataclass(frozen=True, slots=True)
class Row:
    """One sample as it stands in FiftyOne."""

    image_id: str
    shown: str
    label: str  # in `review`; empty where it was cleared
    words: str


def decide(data: Any, samples: Sequence[str], action: str, name: str = "", who: str | None = None) -> list[Click]:
    """Say the same of all these samples: `class` with a name, `accept`, `reject` or `undo`; on disk when it returns.

    UserError for a class that is none, for nothing selected, and for accepting an image that shows no label.
    """
    if not samples:
        raise UserError(
            "nothing_selected", "nothing is selected and no picture is open", "select pictures, or open one"
        )
    classes: list[str] = data.info["classes"]
    if action == "class" and name not in classes:
        what = f"{name!r} is not a class{nearest(name, classes)}"
        raise UserError("unknown_class", what, f"use one of {', '.join(classes)}")
    person, when = _person(who), datetime.now(UTC).isoformat(timespec="seconds")
    clicks = []
    for row in _rows(data, samples):
        meant, new = _meaning(row, action, name)
        said = Decision(row.image_id, meant, row.shown, new, person, when, data.info["table"])
        clicks.append(Click(said, row.shown, row.words))
    spool.add(data.info["round"], clicks)
    dataset.settle(data, (click.said for click in clicks))
    return clicks


def take_back(data: Any, who: str | None = None) -> list[str]:
    """Revert this person's last operation, the whole selection at once, and return its samples.

    One that no sync has seen never reaches the ledger. Of one that the ledger has, rows are to follow that say again
    what was said before it, or `undo` where nothing was. UserError where there is none to take back.
    """
    round_, person, when = data.info["round"], _person(who), datetime.now(UTC).isoformat(timespec="seconds")
    found = spool.take_back(round_, person, lambda last: [_reverse(click, when) for click in last.clicks])
    if found is None:
        raise UserError("nothing_to_undo", f"there is no click of {person} to take back", "tag the picture `undo`")
    before = {click.said.image_id: (click.label, click.words) for click in found.clicks}
    dataset.show(data, before)
    replay(
        data, [click for click in spool.pending(round_) if click.said.who != person and click.said.image_id in before]
    )
    found_samples: list[str] = data.select_by("image_id", list(before)).values("id")
    return found_samples


def replay(data: Any, waiting: Iterable[Click]) -> None:
    """Show clicks that no sync has seen in a data set that may not know them: it is new, or was down meanwhile."""
    said = {click.said.image_id: click.said for click in waiting}
    view = data.select_by("image_id", list(said))
    now = dict(zip(*view.values(["image_id", "decision"]), strict=True))
    dataset.settle(data, (said[i] for i, words in now.items() if words != in_words(said[i])))


def next_batch(data: Any, size: int = BATCH) -> list[str]:
    """The sample ids of the next undecided images of the queue, grouped by label so that a wrong one stands out."""
    from fiftyone import ViewField as F

    queue = _queue(data).match((F("decision") == "") | (F("decision") == None))  # noqa: E711  (MongoDB's expression)
    found = sorted(zip(*queue.limit(size).values(["review.label", "id"]), strict=True), key=lambda row: row[0] or "")
    return [sample for _, sample in found]


def undecided(view: Any) -> list[str]:
    """The sample ids of a view of which nobody has said anything."""
    return [sample for sample, words in zip(*view.values(["id", "decision"]), strict=True) if not words]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a review is, and what it has found."""

    done: int
    of: int
    errors: int  # images whose label people changed or rejected, of those done
    right: int  # of the slice the estimate rests on
    judged: int
    random: bool  # whether that slice was drawn at random
    waiting: int  # images with clicks that are in no ledger yet

    @property
    def precision(self) -> tuple[float, float, float] | None:
        """Share of right labels with its exact 95 % interval (Clopper and Pearson 1934); None before the first."""
        if not self.judged:
            return None
        low, high = clopper_pearson(self.right, self.judged)
        return self.right / self.judged, low, high


def standing(data: Any) -> Standing:
    """Count what people said against what the teacher said. What earlier rounds decided is not this review's work."""
    from fiftyone import ViewField as F

    queue, has_queue = _queue(data), _has_queue(data)
    said = queue.match((F("decision") != "") & (F("decision") != None) & ~F("decision").starts_with(CARRIED))  # noqa: E711
    names = ["decision", "teacher.label", *([QUEUE] if has_queue else [])]
    rows = [*zip(*said.values(names), strict=True)]
    wrong = [_overturns(words, teacher) for words, teacher, *_ in rows]
    random = [reason == RANDOM for *_, reason in rows] if has_queue else [True] * len(rows)
    slice_ = [is_wrong for is_wrong, drawn in zip(wrong, random, strict=True) if drawn and is_wrong is not None]
    waiting = len({click.said.image_id for click in spool.pending(data.info["round"])})
    errors = sum(1 for is_wrong in wrong if is_wrong)
    return Standing(len(rows), queue.count(), errors, slice_.count(False), len(slice_), has_queue, waiting)


def _has_queue(data: Any) -> bool:
    """The field is always there; a review without a budget leaves it empty."""
    return bool(data.has_field(QUEUE) and data.count(QUEUE) > 0)


def _queue(data: Any) -> Any:
    """The budgeted queue where there is one, the most doubtful first otherwise."""
    from fiftyone import ViewField as F

    if not _has_queue(data):
        return data.sort_by([("entropy", -1), ("image_id", 1)])
    place = "queue_rank" if data.has_field("queue_rank") else "image_id"
    return data.match((F(QUEUE) != None) & (F(QUEUE) != "")).sort_by(place)  # noqa: E711


def _overturns(words: str, teacher: str) -> bool | None:
    """Whether a decision says that the teacher is wrong; None where it says nothing (undo, or people disagree)."""
    action, _, name = words.partition(": ")
    if action in ("relabel", "accept"):
        return name != teacher
    return True if action == "reject" else None


def _meaning(row: Row, action: str, name: str) -> tuple[str, str]:
    if action in ("reject", "undo"):
        return action, ""
    name = name or row.label
    if not name:
        raise UserError("no_label", f"{row.image_id} shows no label to accept", "say its class, or reject it")
    return ("accept" if name == row.shown else "relabel"), name


def _reverse(click: Click, when: str) -> Click:
    """The click that says again what was said before one that a ledger has."""
    said = click.said
    if click.words.startswith("conflict"):
        what = f"the click on {said.image_id} settled a conflict, and the ledger has it"
        raise UserError("settled", what, "say what is right instead")
    action, _, name = click.words.removeprefix(CARRIED).partition(": ")
    shown = said.new or click.label
    back = Decision(said.image_id, action or "undo", shown, name, said.who, when, said.table)
    return Click(back, shown, in_words(said))


def _rows(data: Any, samples: Sequence[str]) -> list[Row]:
    columns = data.select(list(samples), ordered=True).values(SEEN)
    rows = [Row(*(value or "" for value in row)) for row in zip(*columns, strict=True)]
    if len(rows) < len(set(samples)):
        what = f"{len(set(samples)) - len(rows)} of these pictures are not in {data.name} any more: it was made anew"
        raise UserError("gone", what, "reload the page")
    return rows


def _person(who: str | None) -> str:
    return ledger.person(os.environ.get(WHO, "") if who is None else who)
