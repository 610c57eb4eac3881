"""The ledger of blind audits: what people said the images behind accepted labels are. Append-only, in git.

    round,table,n,image_id,label,truth,action,answer,who,when

`table` is the sha256 of the label table the audit belongs to, `n` the number of draws asked for, `label` what the table
says. A planted image has its known class in `truth` and a deliberately wrong `label`. `action`: `class` (the image is
`answer`), `none` (it is none of the classes) or `unsure`. The last row of a table, n, image and person wins.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from tasks import files, ledger

ACTIONS = ("class", "none", "unsure")


@dataclass(frozen=True, slots=True)
class Said:
    """What one person said one image is."""

    round: str
    table: str
    n: int
    image_id: str
    label: str
    truth: str
    action: str  # one of ACTIONS
    answer: str  # the class; empty unless the action is `class`
    who: str
    when: str  # UTC, ISO 8601, whole seconds

    @property
    def of(self) -> tuple[str, str, int, str, str]:
        """What and whose it is: a later row of the same replaces it."""
        return self.round, self.table, self.n, self.image_id, self.who


HEADER = tuple(field.name for field in fields(Said))


def read(path: Path = files.AUDIT) -> list[Said]:
    """All rows, oldest first; none where there is no file. UserError names file and line of a wrong row."""
    found = []
    for line, row in ledger.read(path, HEADER):
        if not row["n"].isdecimal():
            raise ledger.refused(path, line, f"n is {row['n']!r}, no number")
        if row["action"] not in ACTIONS:
            raise ledger.refused(path, line, f"the action {row['action']!r} is none of {', '.join(ACTIONS)}")
        if bool(row["answer"]) != (row["action"] == "class"):
            raise ledger.refused(path, line, f"{row['action']} with the answer {row['answer']!r}")
        found.append(Said(**(row | {"n": int(row["n"])})))  # type: ignore[arg-type]
    return found


def append(said: Iterable[Said], path: Path = files.AUDIT) -> int:
    """Add what is new and return how many rows that were: what repeats a person's last word is left out."""
    last = {row.of: (row.action, row.answer) for row in read(path)}
    fresh = [row for row in said if last.get(row.of) != (row.action, row.answer)]
    rows = [[str(value) for value in astuple(row)] for row in fresh]
    return ledger.append(path, HEADER, rows)


def spent(said: Iterable[Said]) -> int:
    """How many images people named in audits: the labels an audit cost."""
    return len({row.image_id for row in said if row.action != "unsure"})
