"""The ledgers of words about champions and students: which word counts, and what is refused."""

from pathlib import Path
from types import ModuleType

import pytest

from tasks import approvals, verdicts
from tasks.errors import UserError
from tasks.verdicts import Word, by_round


def _word(action: str, round_: str, over: str = "") -> Word:
    return Word(action, round_, over, "ada", "2026-01-01T00:00:00Z", "because")


def _said(*words: Word) -> dict[str, str]:
    return {round_: word.action for round_, word in by_round(list(words)).items()}


def test_a_rollback_holds_the_later_rounds_there_were_and_the_last_one_counts() -> None:
    """A second rollback takes the place of the first, a promotion lifts one; rounds added later are judged."""
    first = _word("rollback", "r1", "r3")
    assert _said(first) == {"r2": "rollback", "r3": "rollback"}
    assert _said(first, _word("rollback", "r2", "r3")) == {"r3": "rollback"}
    assert _said(first, _word("rollback", "r3", "r3")) == {}
    assert _said(first, _word("promote", "r3")) == {"r2": "rollback", "r3": "promote"}
    assert _said(_word("promote", "r2"), first) == {"r2": "rollback", "r3": "rollback"}
    assert _said(_word("hold", "r1"), _word("promote", "r1")) == {"r1": "promote"}


def test_words_come_back_as_they_were_said(tmp_path: Path) -> None:
    """Appended rows are read in order, commas and quotes included."""
    words = [
        Word("hold", "r1", "", "ada", "2026-01-01T00:00:00Z", 'worse on "7", I think'),
        _word("rollback", "r0", "r1"),
    ]
    for word in words:
        verdicts.append(tmp_path / "champion.csv", word)
    assert verdicts.read(tmp_path / "champion.csv") == words


@pytest.mark.parametrize(
    ("ledger", "row", "said"),
    [
        (verdicts, "demote,r1,,ada,now,why", "unknown action 'demote'"),
        (verdicts, "hold,one,,ada,now,why", "'one' is no round"),
        (verdicts, "rollback,r1,,ada,now,why", "'' is no round"),
        (verdicts, "hold,r1,,ada,now,", "must not be empty"),
        (approvals, "r1,abc,maybe,,ada,now,why", "unknown action 'maybe'"),
        (approvals, "one,abc,hold,,ada,now,why", "'one' is no round"),
        (approvals, "r1,,hold,,ada,now,why", "must not be empty"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(tmp_path: Path, ledger: ModuleType, row: str, said: str) -> None:
    """File and line, and why; in the ledger of champions and in that of approvals."""
    path = tmp_path / "ledger.csv"
    path.write_text(",".join(ledger.HEADER) + "\n\n" + row + "\n")
    with pytest.raises(UserError, match=f"line 3: .*{said}"):
        ledger.read(path)
