"""What a click in the App does: written down first (tasks/review/spool.py), then shown in FiftyOne.

Every function takes the data set of a round and works on a whole selection at once. It knows nothing of buttons and
keys: those are in tasks/review/plugin.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.core.audit import clopper_pearson
from tasks.decisions import Decision, in_words, nearest
from tasks.errors import UserError
from tasks.review import spool
from tasks.review.corrections import is_clear
from tasks.review.rows import CARRIED
from tasks.review.spool import Click

WHO = "UNDERSTUDY_REVIEWER"  # set by `understudy review --who NAME` for the App's server
QUEUE = "queue_reason"  # why an image stands in the budgeted queue, where there is one
RANDOM = "random"  # the slice of the queue that an estimate may rest on
BATCH = 50
MOST_AT_ONCE = 200  # accepted without being selected
SEEN = ["id", "image_id", "shown", "review.label", "decision"]


@dataclass(frozen=True, slots=True)
class Row:
    """One sample as it stands in FiftyOne."""

    sample: str
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
    when, rows = datetime.now(UTC).isoformat(timespec="seconds"), _rows(data, samples)
    clicks = []
    for row in rows:
        meant, new = _meaning(row, action, name)
        said = Decision(row.image_id, meant, row.shown, new, _name(who), when, data.info["table"])
        clicks.append(Click(said, row.shown, row.words))
    spool.add(data.info["round"], clicks)
    _show(data, {row.sample: click.said for row, click in zip(rows, clicks, strict=True)})
    return clicks


def take_back(data: Any, who: str | None = None) -> int:
    """Revert this person's last operation, the whole selection at once, also after a sync; returns how many images."""
    round_ = data.info["round"]
    found = spool.last(round_, _name(who))
    if found is None:
        raise UserError("nothing_to_undo", f"there is no click of {_name(who)} to take back", "tag the picture `undo`")
    if not found.synced:
        spool.drop(round_, found.name)
    else:
        when = datetime.now(UTC).isoformat(timespec="seconds")
        spool.add(round_, [_reverse(click, when) for click in found.clicks], takes_back=found.name)
    before = {click.said.image_id: click for click in found.clicks}
    view = data.select_by("image_id", list(before))
    rows = {sample: before[image_id] for sample, image_id in zip(*view.values(["id", "image_id"]), strict=True)}
    _set(data, {sample: (click.label, click.words) for sample, click in rows.items()})
    return len(found.clicks)


def replay(data: Any, waiting: Iterable[Click]) -> None:
    """Show clicks that no sync has seen in a data set that may not know them: it is new, or was down meanwhile."""
    said = {click.said.image_id: click.said for click in waiting}
    view = data.select_by("image_id", list(said))
    now = zip(*view.values(["id", "image_id", "decision"]), strict=True)
    _show(data, {sample: said[i] for sample, i, words in now if words != in_words(said[i])})


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
    action, _, name = click.words.removeprefix(CARRIED).partition(": ")
    said = click.said
    if click.words.startswith("conflict"):
        what = f"the click on {said.image_id} settled a conflict, and the ledger has it"
        raise UserError("settled", what, "say what is right instead")
    if click.words.startswith(CARRIED) and action != "reject":
        action, name = "relabel", action
    back = Decision(said.image_id, action or "undo", said.new or click.label, name, said.who, when, said.table)
    return Click(back, said.new or click.label, in_words(said))


def _rows(data: Any, samples: Sequence[str]) -> list[Row]:
    columns = data.select(list(samples), ordered=True).values(SEEN)
    return [Row(*(value or "" for value in row)) for row in zip(*columns, strict=True)]


def _show(data: Any, said: Mapping[str, Decision]) -> None:
    """As a sync shows what it wrote: the label said, or the teacher's, counts as shown from now on."""
    if said:
        view = data.select(list(said))
        teacher = dict(zip(*view.values(["id", "teacher.label"]), strict=True))
        _set(data, {sample: (d.new or teacher[sample] or "", in_words(d)) for sample, d in said.items()})


def _set(data: Any, rows: Mapping[str, tuple[str, str]]) -> None:
    """Label and words of samples; tags that a sync would act on are answered by what was said now."""
    import fiftyone as fo

    if not rows:
        return
    view = data.select(list(rows))
    if tags := [tag for tag in view.distinct("tags") if is_clear(tag, data.info["classes"])]:
        view.untag_samples(tags)
    labels = {sample: fo.Classification(label=label) if label else None for sample, (label, _) in rows.items()}
    data.set_values("review", labels, key_field="id")
    data.set_values("shown", {sample: label for sample, (label, _) in rows.items()}, key_field="id")
    data.set_values("decision", {sample: words for sample, (_, words) in rows.items()}, key_field="id")


def _name(who: str | None) -> str:
    name = (who if who is not None else os.environ.get(WHO, "")).strip()
    if not name:
        raise UserError("no_name", "a decision needs a name to it", "`understudy review --who NAME`")
    return name
