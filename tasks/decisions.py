"""The ledger of human decisions: one append-only CSV a round, in git, the only record of what people said.

    image_id,action,old,new,who,when,table

`relabel`: the image is `new`. `accept`: the label shown is right (`new` repeats it). `reject`: never learn from this
image. `undo`: back to what the teacher says. The last row of an image wins; rows are never changed or removed.
"""

import csv
import difflib
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from tasks import files
from tasks.errors import UserError

ACTIONS = ("relabel", "accept", "reject", "undo")
NAMES_A_CLASS = ("relabel", "accept")


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


def latest(path: Path, classes: Sequence[str]) -> dict[str, Decision]:
    """The decision in force for each image: its last row.

    Raises UserError naming file, line, class and the nearest known class when a row names a class that is none; rows
    that a later one overrules are history and not checked.
    """
    decisions = read(path)
    in_force = {decision.image_id: (number, decision) for number, decision in enumerate(decisions)}
    for number, decision in in_force.values():
        if decision.action in NAMES_A_CLASS and decision.new not in classes:
            why = f"{decision.new!r} is not a class{nearest(decision.new, classes)}; image {decision.image_id}"
            raise _bad(path, _line(path, number), why, f"use one of {', '.join(classes)}")
    return {image_id: decision for image_id, (_, decision) in in_force.items()}


def append(path: Path, decisions: Iterable[Decision]) -> int:
    """Add decisions that say something new and return how many; rows already there keep their bytes.

    A decision that repeats the image's last one (same action and class) is left out, so doing it twice changes nothing.
    One call writes at most one row an image, sorted by image_id, and becomes visible at once or not at all.
    """
    before = read(path) if path.exists() else []
    last = {decision.image_id: decision for decision in before}
    wanted = {decision.image_id: decision for decision in decisions}
    fresh = [wanted[i] for i in sorted(wanted) if i not in last or _says(last[i]) != _says(wanted[i])]
    if not fresh:
        return 0
    text = _text(path) if path.exists() else ",".join(HEADER) + "\n"
    added = io.StringIO(newline="")
    csv.writer(added, lineterminator="\n").writerows(astuple(_harmless(decision)) for decision in fresh)
    files.replace_file(path, text + ("" if text.endswith("\n") else "\n") + added.getvalue())
    return len(fresh)


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'frog'?` when something known is close to a word, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _says(decision: Decision) -> tuple[str, str]:
    return decision.action, decision.new


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
