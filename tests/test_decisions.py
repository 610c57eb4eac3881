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
        decisions.in_force(ledger, CLASSES)


def test_an_overruled_row_may_name_a_class_that_is_gone(ledger: Path) -> None:
    """Mending a wrong class is one row more, never an edit of history."""
    decisions.append(ledger, [replace(ROW, new="dgo")])
    decisions.append(ledger, [ROW])
    assert decisions.in_force(ledger, CLASSES).words == {ROW.image_id: ROW}


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


def _said(who: str, action: str, new: str = "", image_id: str = "a" * 64) -> Decision:
    return replace(ROW, image_id=image_id, who=who, action=action, new=new)


@pytest.mark.parametrize(
    ("rows", "holds"),
    [
        ([_said("Ada", "relabel", "cat"), _said("Ada", "relabel", "dog")], "dog"),
        ([_said("Ada", "relabel", "cat"), _said("Bob", "accept", "cat")], "cat"),
        ([_said("Ada", "relabel", "cat"), _said("Bob", "relabel", "dog")], ("cat", "dog")),
        ([_said("Ada", "relabel", "cat"), _said("Bob", "reject")], ("cat", "reject")),
        ([_said("Ada", "accept", "cat"), _said("Bob", "accept", "cat"), _said("Ada", "reject")], ("cat", "reject")),
        ([_said("Ada", "relabel", "cat"), _said("Bob", "relabel", "dog"), _said("Cy", "reject")], "reject"),
        ([_said("Ada", "relabel", "cat"), _said("Bob", "relabel", "dog"), _said("Bob", "relabel", "cat")], "cat"),
        ([_said("Ada", "relabel", "cat"), _said("Bob", "relabel", "dog"), _said("Ada", "accept", "cat")], "cat"),
        ([_said("Ada", "relabel", "cat"), _said("Bob", "undo")], "undo"),
        ([_said("Ada", "relabel", "cat"), _said("Bob", "relabel", "dog"), _said("Ada", "undo")], "dog"),
        ([_said("Ada", "relabel", "cat"), _said("Bob", "relabel", "dog"), _said("Cy", "undo")], "undo"),
        ([_said("Ada", "relabel", "cat"), _said("Bob", "undo"), _said("Cy", "relabel", "dog")], "dog"),
    ],
)
def test_two_who_differ_are_a_conflict_until_one_more_word(rows: list[Decision], holds: str | tuple[str, ...]) -> None:
    """One's later word replaces the own earlier one; of two people's neither wins; the third word settles it."""
    found = decisions.standing(rows)
    if isinstance(holds, str):
        [word] = found.words.values()
        assert (word.new or word.action, found.conflicts) == (holds, {})
    else:
        [voices] = found.conflicts.values()
        assert (tuple(d.new or d.action for d in voices), found.words) == (holds, {})


def test_both_rows_of_a_conflict_stay_and_a_repeated_sync_settles_nothing(ledger: Path) -> None:
    """What Ada said already is no third word, unless she said it again with the conflict before her eyes."""
    ada, bob = replace(ROW, new="cat"), replace(ROW, who="Bob")
    assert decisions.append(ledger, [ada, bob]) == 2
    assert decisions.append(ledger, [ada]) == decisions.append(ledger, [replace(ada, when="later")]) == 0
    assert decisions.in_force(ledger, CLASSES).conflicts == {ROW.image_id: (ada, bob)}
    again = replace(ada, when="later", action="accept")
    assert decisions.append(ledger, [again], settling={ROW.image_id}) == 1
    assert decisions.read(ledger) == [ada, bob, again]
    assert decisions.in_force(ledger, CLASSES).words == {ROW.image_id: again}
    assert decisions.append(ledger, [bob]) == 0, "his row is there; to differ again he has to say it anew"


def test_every_wrong_class_is_listed(ledger: Path) -> None:
    """All rows at once, each with its line, also those of a conflict."""
    rows = [replace(ROW, new="dgo"), replace(ROW, new="cta", who="Bob"), replace(ROW, image_id="b", new="forg")]
    decisions.append(ledger, rows)
    with pytest.raises(UserError) as refused:
        decisions.in_force(ledger, CLASSES)
    for line, word, near in ((2, "dgo", "dog"), (3, "cta", "cat"), (4, "forg", "frog")):
        assert f"line {line}: {word!r} is not a class; did you mean {near!r}?" in str(refused.value)
