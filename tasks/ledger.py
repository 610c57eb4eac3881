"""A small append-only CSV in git: a row for each thing a person said. What the rows mean is the caller's."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tasks import files
from tasks.errors import UserError


def read(path: Path, header: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows with the lines they end on, oldest first; a file that is not there says nothing.

    Raises UserError naming file and line for another header, a row with more or fewer columns, or no CSV.
    """
    if not path.exists():
        return []
    try:
        rows = csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline=""), strict=True)
        found = [(rows.line_num, row) for row in rows if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise refused(path, 0, f"it is no CSV in UTF-8: {error}") from None
    if not found or found[0][1] != list(header):
        raise refused(
            path, 1, f"the header is {','.join(found[0][1]) if found else ''!r}, expected {','.join(header)!r}"
        )
    for line, row in found[1:]:
        if len(row) != len(header):
            raise refused(path, line, f"{len(row)} columns, expected {len(header)}")
    return [(line, dict(zip(header, row, strict=True))) for line, row in found[1:]]


def append(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Add rows that are not there yet, all at once or none, and return how many; those there keep their bytes."""
    before = {tuple(row.values()) for _, row in read(path, header)}
    fresh = [row for row in dict.fromkeys(map(tuple, rows)) if row not in before]
    if not fresh:
        return 0
    text = path.read_bytes().decode("utf-8") if path.exists() else ",".join(header) + "\n"
    added = io.StringIO(newline="")
    csv.writer(added, lineterminator="\n").writerows(fresh)
    files.replace_file(path, text + ("" if text.endswith("\n") else "\n") + added.getvalue())
    return len(fresh)


def name(who: str) -> str:
    """A person's name without control characters or a first character that a spreadsheet takes for a formula."""
    who = re.sub(r"[\x00-\x1f\x7f]+", " ", who).strip()
    return f"'{who}" if who.startswith(("=", "+", "-", "@")) else who


def person(who: str) -> str:
    """The name of whoever says something, as it stands in a ledger. UserError where there is none."""
    if not who.strip():
        raise UserError(
            "no_name", "what people say needs a name to it", 'git config user.name "Your Name", or --who NAME'
        )
    return name(who)


def refused(path: Path, line: int, why: str) -> UserError:
    """The error about a line of a ledger (0: the file as a whole)."""
    where = f"{path}, line {line}" if line else str(path)
    return UserError("bad_ledger", f"{where}: {why}", "mend the line, finish the merge, or restore the file from git")
