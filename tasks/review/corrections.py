"""Corrections made in FiftyOne, read as decisions. Pure: rows in, decisions and refusals out; a test needs no mongod.

A person says something about an image by

- editing `review` (in Annotate, or from Python)       relabel, also back to the teacher's class
- clearing `review`                                    reject: none of the classes fits
- the tag `accept`, `reject` or `undo`                 the action of that name
- the tag `class:<name>`, or the name of a class       relabel, or accept when it is the label shown

A row whose parts contradict each other is refused, and so is a class that is none; all other rows count.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.decisions import Decision, nearest

TAG_ACTIONS = ("accept", "reject", "undo")  # a class of such a name is tagged `class:accept`
CLASS_TAG = "class:"
Meaning = tuple[str, str]  # action and class, the class empty for reject and undo


@dataclass(frozen=True, slots=True)
class Row:
    """One image as it stands in FiftyOne."""

    image_id: str
    shown: str  # the label `review` started with
    label: str  # the label in `review` now; empty when it was cleared
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Something a person said that cannot become a decision, and why."""

    image_id: str
    why: str


def interpret(
    rows: Iterable[Row], classes: Sequence[str], known: Container[str], *, who: str, when: str, table: str
) -> tuple[list[Decision], list[Refused]]:
    """The decisions of all rows that say something, and what was refused; both in the order of the rows.

    `known` holds the image ids that were shown from the label table `table`: others are refused, never guessed.
    """
    made: list[Decision] = []
    refused: list[Refused] = []
    for row in rows:
        refused += [
            Refused(row.image_id, unclear(tag, classes, TAG_ACTIONS)) for tag in row.tags if not is_clear(tag, classes)
        ]
        meanings = _meanings(row, classes)
        if not meanings:
            continue
        if why := _objection(row, meanings, classes, known):
            refused.append(Refused(row.image_id, why))
            continue
        [(action, new)] = meanings
        made.append(Decision(row.image_id, action, row.shown, new, who, when, table))
    return made, refused


def is_clear(tag: str, classes: Sequence[str]) -> bool:
    """Whether a tag says something that a sync acts on; others are listed and left where they are."""
    return tag in TAG_ACTIONS or named(tag) in classes


def _meanings(row: Row, classes: Sequence[str]) -> set[Meaning]:
    """Everything a row says; one person's mind when it is one, a contradiction when it is more."""
    meanings = {_means(tag, row) for tag in row.tags if is_clear(tag, classes)}
    if not row.label:
        return meanings | {("reject", "")}
    return meanings | ({("relabel", row.label)} if row.label != row.shown else set())


def _means(tag: str, row: Row) -> Meaning:
    if tag in ("reject", "undo"):
        return tag, ""
    name = row.label if tag == "accept" else named(tag)
    return ("accept" if name == row.shown else "relabel"), name


def named(tag: str) -> str:
    """The class that a tag names, whether there is such a one or not."""
    return tag.removeprefix(CLASS_TAG).strip()


def _objection(row: Row, meanings: set[Meaning], classes: Sequence[str], known: Container[str]) -> str:
    """Why what a row says cannot be used, or nothing."""
    if row.image_id not in known:
        return "is no image of this round's label table"
    for _, name in sorted(meanings):
        if name and name not in classes:
            return f"the label {name!r} is not a class{nearest(name, classes)}"
    if len(meanings) > 1:
        said = " and ".join(f"{action} {name}".strip() for action, name in sorted(meanings))
        return f"its label and tags contradict each other: {said}"
    return ""


def unclear(tag: str, classes: Sequence[str], actions: Sequence[str]) -> str:
    """Why a tag says nothing, with what may have been meant."""
    return (
        f"the tag {tag!r} is neither a class nor one of {', '.join(actions)}{nearest(named(tag), (*classes, *actions))}"
    )


def without_stale(
    made: Iterable[Decision], now: Mapping[str, str | None], table: str
) -> tuple[list[Decision], list[Refused]]:
    """Split off the judgements of an older label table than `table`, the hash of today's, that say something else now.

    A class stands on its own. `accept` and `reject` judge the label that was shown, so they count only where `now`, the
    label table of today, still says the same.
    """
    fresh: list[Decision] = []
    stale: list[Refused] = []
    for decision in made:
        today = now[decision.image_id]
        if decision.table != table and decision.action in ("accept", "reject") and today != decision.old:
            why = f"{decision.action} was said of {decision.old!r}; the label table has {today!r} by now: look again"
            stale.append(Refused(decision.image_id, why))
        else:
            fresh.append(decision)
    return fresh, stale


def still_meant(
    made: Iterable[Decision], classes: Sequence[str], now: Container[str]
) -> tuple[list[Decision], list[Refused]]:
    """Split decisions made earlier into those that can be written, and those whose class or image is none any more."""
    good: list[Decision] = []
    refused: list[Refused] = []
    for decision in made:
        if decision.image_id not in now:
            refused.append(Refused(decision.image_id, "is no image of this round's label table"))
        elif decision.new and decision.new not in classes:
            why = f"the label {decision.new!r} is not a class{nearest(decision.new, classes)}"
            refused.append(Refused(decision.image_id, why))
        else:
            good.append(decision)
    return good, refused
