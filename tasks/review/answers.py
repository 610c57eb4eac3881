"""What people say an image of a blind audit is. Pure: rows in, answers and refusals out; a test needs no mongod.

A person names the class by

- choosing a class in `answer` (in Annotate, or from Python)
- the tag `class:<name>`, or the name of a class
- the tag `unsure`: it could be several; `none`: it is none of the classes

A row that names no class there is, or two, is refused as a whole; all other rows count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.decisions import nearest
from tasks.review.corrections import Refused, named, unclear

TAGS = ("unsure", "none")  # a class of such a name is tagged `class:none`
Answer = tuple[str, str]  # action of tasks/audits.py, and the class where it names one


@dataclass(frozen=True, slots=True)
class Row:
    """One image as it stands in FiftyOne."""

    name: str  # of the picture: all a reviewer sees of the image's identity
    label: str  # in `answer`; empty where nothing was chosen
    tags: tuple[str, ...]


def interpret(rows: Iterable[Row], classes: Sequence[str]) -> tuple[dict[str, Answer], list[Refused]]:
    """The answers by the pictures' names, and what was refused, each in the order of the rows."""
    answers: dict[str, Answer] = {}
    refused: list[Refused] = []
    for row in rows:
        odd = [unclear(tag, classes, TAGS) for tag in row.tags if not _is_clear(tag, classes)]
        if row.label and row.label not in classes:
            odd.append(f"the answer {row.label!r} is not a class{nearest(row.label, classes)}")
        if odd:
            refused += [Refused(row.name, why) for why in odd]
            continue
        said = {_means(tag) for tag in row.tags} | ({("class", row.label)} if row.label else set())
        if len(said) > 1:
            words = " and ".join(sorted(name or action for action, name in said))
            refused.append(Refused(row.name, f"its answer and tags contradict each other: {words}"))
        elif said:
            [answers[row.name]] = said
    return answers, refused


def _is_clear(tag: str, classes: Sequence[str]) -> bool:
    return tag in TAGS or named(tag) in classes


def _means(tag: str) -> Answer:
    return (tag, "") if tag in TAGS else ("class", named(tag))
