"""The ledger: what people said is read strictly, added to safely, and never changed."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import decisions
from tasks.decisions import Decision
from tasks.errors import UserError
from tests.conftest import ROOT

CLASSES = ["cat", "dog", "frog"]
HEADER = ",".join(decisions.HEADER)
ROW = Decision("a" * 64, "relabel", "cat", "dog", "Ada", "2025-01-31T12:00:00+00:00", "f" * 64)

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=8)
rows = st.builds(
    lambda image_id, action, text: Decision(
        image_id, action, text, text if action in ("relabel", "accept") else "", "", "", ""
    ),
    st.sampled_from("abcd"),
    st.sampled_from(decisions.ACTIONS),
    texts,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "r1.csv"
    path.write_text(HEADER + "\n")
    return path


@given(st.lists(st.lists(rows, max_size=5), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_appending_only_appends(ledger: Path, syncs: list[list[Decision]]) -> None:
    """Old bytes stand, the last word on each image is in force, and saying it twice writes nothing."""
    ledger.write_text(HEADER + "\n")
    word: dict[str, Decision] = {}
    for said in syncs:
        before, rows_before = ledger.read_bytes(), len(decisions.read(ledger))
        written = decisions.append(ledger, said)
        word |= {decision.image_id: decision for decision in said}
        after = ledger.read_bytes()
        assert after.startswith(before)
        added = decisions.read(ledger)[rows_before:]
        assert len(added) == written
        assert [d.image_id for d in added] == sorted({d.image_id for d in added})
        assert decisions.append(ledger, said) == 0
        assert ledger.read_bytes() == after
    in_force = {d.image_id: (d.action, d.new) for d in decisions.read(ledger)}
    assert in_force == {i: (d.action, d.new) for i, d in word.items()}


def test_a_missing_ledger_begins_with_its_header(tmp_path: Path) -> None:
    """The first decision makes the file; an empty sync does not."""
    path = tmp_path / "deep/r3.csv"
    assert decisions.append(path, []) == 0
    assert not path.exists()
    assert decisions.append(path, [ROW]) == 1
    assert path.read_text().splitlines()[0] == HEADER


@pytest.mark.parametrize("ending", ["\r\n", ""])
def test_a_ledger_edited_by_hand_keeps_its_bytes(ledger: Path, ending: str) -> None:
    """Line ends of another editor and a missing last one survive an append."""
    ledger.write_bytes(f"{HEADER}\r\n{'b' * 64},reject,cat,,Bob,,{ending}".encode())
    before = ledger.read_bytes()
    decisions.append(ledger, [ROW])
    assert ledger.read_bytes().startswith(before)
    assert [d.action for d in decisions.read(ledger)] == ["reject", "relabel"]


@pytest.mark.parametrize("who", ['=HYPERLINK("x")', "+1", "-1", "@x", "\t=1", "a\nb", 'A, "B"'])
def test_a_name_is_no_formula_and_stays_on_its_line(ledger: Path, who: str) -> None:
    """A spreadsheet that opens the ledger must not run what somebody typed as a name."""
    decisions.append(ledger, [replace(ROW, who=who)])
    [row] = decisions.read(ledger)
    assert not row.who.startswith(("=", "+", "-", "@", "\t"))
    assert len(ledger.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,action\n", r"r1\.csv, line 1: the header is 'image,action'"),
        ("", r"r1\.csv, line 1: the header is ''"),
        (f"{HEADER}\na,relabel,cat,dog,,\n", r"r1\.csv, line 2: 6 columns, expected 7"),
        (f"{HEADER}\na,accept,cat,cat,,,\n<<<<<<< HEAD\n", r"r1\.csv, line 3: 1 columns"),
        (f"{HEADER}\na,relable,cat,dog,,,\n", r"line 2: unknown action 'relable'; did you mean 'relabel'\?"),
        (f"{HEADER}\na,reject,cat,dog,,,\n", r"line 2: reject names no class, but 'dog'"),
        (f'{HEADER}\na,reject,"cat,,,,\n', r"line 2"),
    ],
)
def test_a_damaged_ledger_is_refused_with_file_and_line(ledger: Path, text: str, said: str) -> None:
    """Nothing is guessed from a ledger that a merge or a hand has broken."""
    ledger.write_text(text)
    for act in (lambda: decisions.read(ledger), lambda: decisions.append(ledger, [ROW])):
        with pytest.raises(UserError, match=said):
            act()
    assert ledger.read_text() == text


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A ledger that is absent or no text at all is named."""
    with pytest.raises(UserError, match="does not exist"):
        decisions.read(tmp_path / "r1.csv")
    (tmp_path / "r1.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not UTF-8"):
        decisions.read(tmp_path / "r1.csv")


def test_a_class_that_is_none_is_named_with_its_line(ledger: Path) -> None:
    """The error leads to the row, also after quoted line breaks, and offers the nearest class."""
    decisions.append(ledger, [replace(ROW, old="two\nlines")])
    decisions.append(ledger, [replace(ROW, image_id="b" * 64, new="dgo")])
    with pytest.raises(UserError, match=r"r1\.csv, line 4: 'dgo' is not a class; did you mean 'dog'\?"):
        decisions.latest(ledger, CLASSES)


def test_an_overruled_row_may_name_a_class_that_is_gone(ledger: Path) -> None:
    """Mending a wrong class is one row more, never an edit of history."""
    decisions.append(ledger, [replace(ROW, new="dgo")])
    decisions.append(ledger, [ROW])
    assert decisions.latest(ledger, CLASSES) == {ROW.image_id: ROW}


def test_a_kill_while_appending_leaves_the_old_or_the_new_ledger(ledger: Path) -> None:
    """SIGKILL at any moment: every row in the file is whole, and the same command again writes the rest."""
    script = (
        "import sys; from pathlib import Path; from tasks import decisions; path = Path(sys.argv[1])\n"
        "print('go', flush=True)\n"
        "for i in range(10**6):\n"
        "    decisions.append(path, [decisions.Decision(f'{i:064}', 'reject', 'cat', '', 'Ada', '', '')])\n"
    )
    for pause in (0.02, 0.05, 0.11):
        process = subprocess.Popen([sys.executable, "-c", script, ledger], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(pause)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        said = decisions.read(ledger)
        assert [d.image_id for d in said] == [f"{i:064}" for i in range(len(said))]
    assert said
