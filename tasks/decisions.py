"""The ledger of human decisions: one append-only CSV a round, in git, the only record of what people said.

    image_id,action,old,new,who,when,table

`relabel`: the image is `new`. `accept`: the label shown is right (`new` repeats it). `reject`: never learn from this
image. `undo`: takes the own word back, or, of somebody who said nothing, everybody's: without any word the image is
what the teacher says. Rows are never changed or removed.

A person's later word replaces the own earlier one. Where the words of two people differ, neither wins: the image is in
conflict, is not learnt from, and waits until one more word about it settles it, whoever says it.
"""

import csv
import difflib
import io
import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from tasks import files
from tasks.errors import UserError

ACTIONS = ("relabel", "accept", "reject", "undo")
NAMES_A_CLASS = ("relabel", "accept")
CONFLICT = "human_conflict"  # the reason of an image that people disagree on, in the label table
SHOWN_ERRORS = 10  # of a ledger's wrong classes


@dataclass(frozen=True, slots=True)
class Decision:
    """What one person said about one image."""

    image_id: str
    action: str  # one of ACTIONS
    old: str  # the label that was shown; empty where there was none
    new: str  # the class, for relabel and accept; empty otherwise
    who: str
    when: str  # UTC, ISO 8601, whole seconds
    table: str  # files.manifest_hash of the label table that was shown


HEADER = tuple(field.name for field in fields(Decision))


def read(path: Path) -> list[Decision]:
    """All decisions of a ledger, oldest first.

    Raises UserError naming file and line for a missing file, another header, a row with more or fewer columns (a merge
    conflict left in the file, say), an unknown action, or a class where the action names none.
    """
    rows = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    found: list[Decision] = []
    try:
        header = next(rows, [])
        if tuple(header) != HEADER:
            raise _bad(path, 1, f"the header is {','.join(header)!r}", f"make it {','.join(HEADER)!r}")
        for row in rows:
            if len(row) != len(HEADER):
                why = f"{len(row)} columns, expected {len(HEADER)}"
                raise _bad(path, rows.line_num, why, "restore the line from git, or finish the merge")
            if row[1] not in ACTIONS:
                why = f"unknown action {row[1]!r}{nearest(row[1], ACTIONS)}"
                raise _bad(path, rows.line_num, why, f"use one of {', '.join(ACTIONS)}")
            if row[3] and row[1] not in NAMES_A_CLASS:
                why = f"{row[1]} names no class, but {row[3]!r} stands in column new"
                raise _bad(path, rows.line_num, why, "empty that column, or make the action relabel")
            found.append(Decision(*row))
    except csv.Error as error:
        raise _bad(path, rows.line_num, str(error), "restore the line from git") from None
    return found


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds after all rows: one decision an image, or the voices of those who disagree on it."""

    words: dict[str, Decision]
    conflicts: dict[str, tuple[Decision, ...]]  # each one's last word, in the order they were said
    voices: dict[str, tuple[Decision, ...]]  # the same of every image, also where all agree

    def voice(self, image_id: str, who: str) -> Decision | None:
        """The person's own word that still stands."""
        return next((said for said in self.voices.get(image_id, ()) if said.who == who), None)


def standing(decisions: Iterable[Decision]) -> Standing:
    """What holds after these rows, oldest first."""
    voices: dict[str, dict[str, Decision]] = {}
    for decision in decisions:
        before = voices.get(decision.image_id, {})
        others = {who: said for who, said in before.items() if who != decision.who and said.action != "undo"}
        if decision.action == "undo":
            stay = others if decision.who in before else {}
            voices[decision.image_id] = stay or {decision.who: decision}
        else:
            voices[decision.image_id] = ({} if _differ(before.values()) else others) | {decision.who: decision}
    said = {image_id: tuple(by.values()) for image_id, by in voices.items()}
    conflicts = {image_id: by for image_id, by in said.items() if _differ(by)}
    return Standing({i: by[-1] for i, by in said.items() if i not in conflicts}, conflicts, said)


def in_force(path: Path, classes: Sequence[str]) -> Standing:
    """What holds for each image of a ledger.

    Raises UserError naming file, line, class and the nearest known class of every row in force that names a class that
    is none; rows that a later one overrules are history and not checked.
    """
    decisions = read(path)
    found = standing(decisions)
    holding = {id(d) for d in (*found.words.values(), *(d for by in found.conflicts.values() for d in by))}
    wrong = [
        (number, f"{d.new!r} is not a class{nearest(d.new, classes)}; image {d.image_id}")
        for number, d in enumerate(decisions)
        if id(d) in holding and d.action in NAMES_A_CLASS and d.new not in classes
    ]
    if wrong:
        lines = [f"line {_line(path, number)}: {why}" for number, why in wrong[:SHOWN_ERRORS]]
        lines += [f"and {len(wrong) - SHOWN_ERRORS} more"] * (len(wrong) > SHOWN_ERRORS)
        what = f"{path}, " + "\n  ".join(lines)
        raise UserError("bad_ledger", what, f"use one of {', '.join(classes)}")
    return found


def append(path: Path, decisions: Iterable[Decision], settling: Container[str] = ()) -> int:
    """Add decisions that say something new and return how many; rows already there keep their bytes.

    A decision that repeats its person's standing word is left out, so doing it twice changes nothing; of an image in
    conflict a repeated word counts, and settles it, where the person saw the conflict: `settling` holds those images.
    One call writes at most one row an image and person, sorted by image_id, and becomes visible at once or not at all.
    """
    before = read(path) if path.exists() else []
    there, now = set(before), standing(before)
    wanted = {(d.image_id, d.who): d for d in map(_harmless, decisions)}
    fresh = [d for _, d in sorted(wanted.items()) if _is_new(d, now, there, settling)]
    if not fresh:
        return 0
    text = _text(path) if path.exists() else ",".join(HEADER) + "\n"
    added = io.StringIO(newline="")
    csv.writer(added, lineterminator="\n").writerows(astuple(decision) for decision in fresh)
    files.replace_file(path, text + ("" if text.endswith("\n") else "\n") + added.getvalue())
    return len(fresh)


def in_words(decision: Decision) -> str:
    """`relabel: frog`, `reject`: a decision as people read it."""
    return f"{decision.action}: {decision.new}" if decision.new else decision.action


def conflict_in_words(voices: Iterable[Decision]) -> str:
    """`conflict: Ada says frog, Bob says reject`."""
    return "conflict: " + ", ".join(f"{d.who or 'somebody'} says {d.new or d.action}" for d in voices)


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'frog'?` when something known is close to a word, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _is_new(decision: Decision, now: Standing, there: Container[Decision], settling: Container[str]) -> bool:
    """Whether a row would say what its person did not say before."""
    own = now.voice(decision.image_id, decision.who)
    if own is None:  # never said, or settled by others since: the same row once more is a repeated sync
        return decision not in there
    if decision.image_id in now.conflicts and _means(own) == _means(decision):
        return decision.image_id in settling
    return (own.action, own.new) != (decision.action, decision.new)


def _means(decision: Decision) -> tuple[bool, str]:
    """accept and relabel name a class and agree when it is the same one."""
    return decision.action in NAMES_A_CLASS, decision.new or decision.action


def _differ(voices: Iterable[Decision]) -> bool:
    return len({_means(decision) for decision in voices}) > 1


def _harmless(decision: Decision) -> Decision:
    """A name is free text: no control characters, and no first character that a spreadsheet takes for a formula."""
    who = re.sub(r"[\x00-\x1f\x7f]+", " ", decision.who).strip()
    return replace(decision, who=f"'{who}" if who.startswith(("=", "+", "-", "@")) else who)


def _text(path: Path) -> str:
    """The file as it is: no translation of line ends, for append keeps them."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        fix = f"printf '{','.join(HEADER)}\\n' > {path}"
        raise UserError("no_ledger", f"{path} does not exist; every round has one, if only a header", fix) from None
    except UnicodeDecodeError as error:
        raise UserError("bad_ledger", f"{path} is not UTF-8: {error}", f"git checkout {path}") from None


def _line(path: Path, number: int) -> int:
    """The line on which decision `number` (from 0) ends; a quoted cell may span several."""
    rows = csv.reader(io.StringIO(_text(path), newline=""))
    for _ in range(number + 2):
        next(rows)
    return rows.line_num


def _bad(path: Path, line: int, why: str, fix: str) -> UserError:
    return UserError("bad_ledger", f"{path}, line {line}: {why}", fix)
