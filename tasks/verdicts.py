"""What people said about champions: action,round,over,who,when,why in data/decisions/champion.csv.

`promote` or `hold`: the student of `round`, whatever the gate measured. `rollback`: back to the champion after `round`;
the students of all later rounds up to `over`, the last one there was then, are held. Of several rollbacks the last one
counts. Rows are never changed or removed; later ones overrule earlier ones.
"""

import re
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

from tasks import ledger

ACTIONS = ("promote", "hold", "rollback")
ROUND = re.compile(r"r\d+")


@dataclass(frozen=True, slots=True)
class Word:
    """What one person said."""

    action: str  # one of ACTIONS
    round: str
    over: str  # of a rollback; empty otherwise
    who: str
    when: str  # UTC, ISO 8601, whole seconds
    why: str

    def as_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return asdict(self)


HEADER = tuple(field.name for field in fields(Word))


def read(path: Path) -> list[Word]:
    """All rows, oldest first. UserError names the line of an action or round that is none, or of a word without why."""
    words = []
    for line, row in ledger.read(path, HEADER):
        word = Word(**row)
        if word.action not in ACTIONS:
            raise ledger.refused(path, line, f"unknown action {word.action!r}; known: {', '.join(ACTIONS)}")
        for name in [word.round] + [word.over] * (word.action == "rollback"):
            if not ROUND.fullmatch(name):
                raise ledger.refused(path, line, f"{name!r} is no round such as r1")
        if not word.who or not word.why:
            raise ledger.refused(path, line, "who said so, and why, must not be empty")
        words.append(word)
    return words


def append(path: Path, word: Word) -> None:
    """Add a row."""
    ledger.append(path, HEADER, [astuple(word)])


def by_round(words: list[Word]) -> dict[str, Word]:
    """The word that counts for each round of which there is one; a rollback counts for the rounds it holds."""
    said: dict[str, Word] = {}
    for word in words:
        if word.action == "rollback":
            said = {round_: other for round_, other in said.items() if other.action != "rollback"}
            said |= {f"r{k}": word for k in range(int(word.round[1:]) + 1, int(word.over[1:]) + 1)}
        else:
            said[word.round] = word
    return said
