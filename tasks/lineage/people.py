"""What people said about an image, in every ledger of data/decisions: they lie in git and are only ever added to."""

import csv
import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tasks import decisions, files
from tasks.errors import UserError

LEDGERS = files.RELEASES.parent
CONFLICTS, RELEASES, AUDITS = files.CONFLICTS.name, files.RELEASES.name, "audit.csv"


def said(image_id: str | None, places: Collection[tuple[str, str]]) -> list[dict[str, Any]]:
    """The rows about an image, oldest first within each ledger; `in_force` marks the last of each ledger, and
    `disputed` those of people who disagree: then none is in force.

    `places`: (source, path) of its files, by which releases name it. UserError for a ledger that is no CSV.
    """
    found: list[dict[str, Any]] = []
    for path in sorted(LEDGERS.glob("*.csv"), key=lambda path: (len(path.stem), path.stem)):
        rows = [
            {"ledger": path.as_posix(), "line": line, "what": in_words(path.name, row), **row}
            for line, row in _rows(path)
            if (image_id and row.get("image_id") == image_id) or (row.get("source"), row.get("path")) in places
        ]
        disputed = _disputed(rows)
        last = [row is rows[-1] and not disputed for row in rows]
        found += [row | {"in_force": f, "disputed": row["line"] in disputed} for row, f in zip(rows, last, strict=True)]
    return found


def _disputed(rows: list[dict[str, Any]]) -> set[int]:
    """The lines of a round's ledger whose words contradict each other and stand, all about one image."""
    names = decisions.HEADER
    if not rows or not set(names) <= rows[0].keys():
        return set()
    line = {decisions.Decision(*(row[name] for name in names)): row["line"] for row in rows}
    return {line[said] for voices in decisions.standing(line).conflicts.values() for said in voices}


def everything() -> dict[str, list[str]]:
    """image_id → all that was said of it in the ledgers that name images, each with who, when and the ledger."""
    found: dict[str, list[str]] = {}
    for path in sorted(LEDGERS.glob("*.csv"), key=lambda path: (len(path.stem), path.stem)):
        for _, row in _rows(path):
            if image_id := row.get("image_id"):
                words = f"{path.stem}: {in_words(path.name, row)}, {row.get('who', '')} {row.get('when', '')[:10]}"
                found.setdefault(image_id, []).append(words.strip())
    return found


def in_words(ledger: str, row: dict[str, str]) -> str:
    """`relabel 1 → 7`, `reject`, `is 7`: one row of a ledger without who and when."""
    if ledger == RELEASES:
        return f"taken in although {row['reason']}" + (f", as {row['label']}" if row["label"] else "")
    if ledger == CONFLICTS:
        return f"is {row['label']}"
    if ledger == AUDITS and {"action", "answer", "label"} <= row.keys():
        answer = row["answer"] if row["action"] == "class" else row["action"].replace("none", "none of the classes")
        shown = f"shown as {row['label']} on purpose, planted" if row.get("truth") else f"the table said {row['label']}"
        return f"audit of {row.get('round', '')}: {answer} ({shown})"
    if "action" in row:
        shown = f"{row['old']} → {row['new']}" if row["action"] == "relabel" and row.get("old") else row.get("new", "")
        return f"{row['action']} {shown}".strip()
    others = {name: value for name, value in row.items() if name not in {"image_id", "who", "when", "table"} and value}
    return ", ".join(f"{name} {value}" for name, value in others.items())


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with the lines they end on. Each kind of ledger has its own strict reader; this one shows all."""
    try:
        reader = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8"), newline=""), restval="", strict=True)
        return [(reader.line_num, {k: v for k, v in row.items() if isinstance(k, str)}) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        what = f"{path} is no CSV in UTF-8: {error}"
        raise UserError("bad_ledger", what, f"mend it, or `git checkout {path}`") from None
