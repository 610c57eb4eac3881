"""Students that wait for a person, and what people said: round,student,action,threshold,who,when,why in
data/decisions/approval.csv.

With `approval: manual` the gate promotes nobody by itself. A row is about one net, not about a round: `student` is the
hash of its weights and card, so a student that is trained anew is asked about anew. Rows are never changed or removed;
of several about one net the last one counts. `threshold` says what the next labels were set to, and decides nothing.
"""

from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from tasks import files, ledger
from tasks.errors import Held
from tasks.verdicts import ROUND

ACTIONS = ("promote", "hold")
WAITING = "waiting_for_approval"  # the error's code


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person said about one student."""

    round: str
    student: str  # files.net_hash
    action: str  # one of ACTIONS
    threshold: str  # of the next labels; empty where it was left alone
    who: str
    when: str  # UTC, ISO 8601, whole seconds
    why: str

    def as_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return asdict(self)


HEADER = tuple(field.name for field in fields(Answer))


def read(path: Path) -> list[Answer]:
    """All rows, oldest first. UserError names the line of an action, round or threshold that is none."""
    answers = []
    for line, row in ledger.read(path, HEADER):
        answer = Answer(**row)
        if answer.action not in ACTIONS:
            raise ledger.refused(path, line, f"unknown action {answer.action!r}; known: {', '.join(ACTIONS)}")
        if not ROUND.fullmatch(answer.round):
            raise ledger.refused(path, line, f"{answer.round!r} is no round such as r1")
        if not answer.student or not answer.who or not answer.why:
            raise ledger.refused(path, line, "student, who said so, and why, must not be empty")
        answers.append(answer)
    return answers


def append(path: Path, answer: Answer) -> None:
    """Add a row."""
    ledger.append(path, HEADER, [astuple(answer)])


def about(answers: list[Answer], round_: str, student: str) -> Answer | None:
    """The answer that counts for a student; None where nobody said anything about this very net."""
    return next((one for one in reversed(answers) if (one.round, one.student) == (round_, student)), None)


def note(round_: str) -> Path:
    """What the gate measured of a student that waits: no artefact, and gone when the word is said."""
    return files.WORK / f"gate@{round_}" / "waiting.json"


def waiting(round_: str) -> dict[str, Any] | None:
    """The decision that the gate would make, with `student`; None where nobody waits: the net is another by now, or
    somebody decided."""
    model = files.model(round_)
    if not note(round_).is_file() or not all((model / name).is_file() for name in files.NET):
        return None
    found: dict[str, Any] = files.read_json(note(round_))
    is_open = found["student"] == files.net_hash(model)
    return found if is_open and about(read(files.APPROVALS), round_, found["student"]) is None else None


def ask(made: dict[str, Any], student: str, said: str) -> Held:
    """Keep what was measured for those who decide; the error that ends the run here."""
    round_ = made["round"]
    files.replace_json(note(round_), made | {"student": student})
    what = f"{said}. approval: manual, and nobody decided about this student yet; {made['before']} stays champion"
    fix = (
        f'`understudy approve {round_} --promote --why "..."` or `--hold` (`--threshold X` for the next labels), then '
    )
    return Held(WAITING, what, fix + "`dvc repro`: the student is not trained again")
