"""The quarantine over runs, its listing, and what people take out of it."""

from pathlib import Path
from typing import Any

import pytest

from flows import quarantine as held
from tasks import files, resolutions
from tasks.errors import UserError
from tasks.images import quarantine
from tasks.images.intake import Intake
from tasks.images.record import Record, Refusal
from tasks.images.supervise import Checked
from tasks.params import load
from tests.images.workspace import Workspace, picture, write_all


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Six good images, a bad folder, a stray and a conflict, ingested once."""
    made = Workspace(tmp_path)
    write_all(
        made.source, {f"labeled/{name}/{n}.png": picture(n + 10 * len(name)) for name in ("a", "bb") for n in (1, 2, 3)}
    )
    write_all(made.source, {f"pool/bad/{n}.png": b"" for n in range(40)})
    write_all(made.source, {"stray.png": picture(90), "labeled/a/x.png": picture(91), "labeled/bb/x.png": picture(91)})
    assert made.run("ingest")[0] == 0
    return made


def _runs(workspace: Workspace) -> dict[str, tuple[int, int]]:
    rows = workspace.table("quarantine/own/quarantine")
    return {row["path"]: (row["first_run"], row["last_run"]) for row in rows}


def _artefacts(workspace: Workspace) -> dict[str, str]:
    """Everything but the metrics, which say what this very run read."""
    return {name: value for name, value in workspace.hashes().items() if not name.startswith("data/metrics")}


def _listing(workspace: Workspace, **wanted: Any) -> str:
    with workspace.inside():
        return "\n".join(held.lines(load(), **{"source": None, "reason": None, "limit": 20, **wanted}))


def _release(workspace: Workspace, path: str, label: str | None = None) -> str:
    with workspace.inside():
        return held.let_go(load(), None, path, label, "=Ann")


def test_runs_count_changes_and_nothing_else(workspace: Workspace) -> None:
    """The same again leaves the same bytes; a change is one run more; mended files are past until back."""
    first = _artefacts(workspace)
    assert workspace.run("ingest")[0] == 0
    assert _artefacts(workspace) == first
    bad = workspace.source / "pool/bad/0.png"
    bad.write_bytes(picture(50))
    write_all(workspace.source, {"pool/new.png": b"x"})
    assert workspace.run("ingest")[0] == 0
    runs = _runs(workspace)
    assert (runs["pool/bad/1.png"], runs["pool/new.png"]) == ((1, 2), (2, 2))
    past = workspace.table("quarantine/own/past")
    assert [(row["path"], row["first_run"], row["last_run"]) for row in past] == [("pool/bad/0.png", 1, 1)]
    bad.write_bytes(b"")
    assert workspace.run("ingest")[0] == 0
    assert _runs(workspace)["pool/bad/0.png"] == (1, 3)
    assert workspace.table("quarantine/own/past") == []


def test_a_damaged_quarantine_does_not_stop_ingest(workspace: Workspace) -> None:
    """Numbers start again, and that is said."""
    (workspace.folder / "data/quarantine/own/past.parquet").write_bytes(b"x")
    code, said = workspace.run("ingest")
    assert (code, "counted from 1 again" in said) == (0, True), said
    assert set(_runs(workspace).values()) == {(1, 1)}


def test_listing_shows_a_bad_folder_as_one_line(workspace: Workspace) -> None:
    """Worst first, with counts by reason, an example and what to do; a filter and a limit."""
    said = _listing(workspace)
    lines = said.splitlines()
    assert lines[0] == "own: 43 in quarantine at run 1, 0 once and no more"
    assert lines[1] == "  in 'pool/bad': all 40 files (empty_file 40), run 1"
    assert lines[2] == "    such as 'pool/bad/0.png': empty_file, 0 bytes"
    assert "label_conflict: say which class it is" in said
    assert "empty_file: copy it again, or remove it" in said
    assert len(lines) < 16, "a bad folder is one line and an example"
    assert "own: 1 in quarantine" in _listing(workspace, reason="misplaced")
    assert "and 3 more folders (--limit 4" in _listing(workspace, limit=1)
    with pytest.raises(UserError, match=r"'misplacd'; there are: empty_file, "):
        _listing(workspace, reason="misplacd")
    with pytest.raises(UserError, match="no source 'won'"):
        _listing(workspace, source="won")


def test_release_of_a_stray_and_of_a_conflict(workspace: Workspace) -> None:
    """A stray becomes an image of a class, a conflict is resolved for the image; twice changes nothing."""
    assert "1 written" in _release(workspace, "stray.png", "a")
    assert "1 written" in _release(workspace, "labeled/a/x.png", "bb")
    assert "0 written" in _release(workspace, "labeled/bb/x.png", "bb")
    assert (
        workspace.folder / files.RELEASES
    ).read_text() == "source,path,reason,label,who\nown,stray.png,misplaced,a,'=Ann\n"
    assert workspace.run("ingest")[0] == 0
    labels = {path: label for path, (_, label) in workspace.labels().items()}
    assert (labels["stray.png"], labels["labeled/a/x.png"], labels["labeled/bb/x.png"]) == ("a", "bb", "bb")
    assert set(workspace.reasons().values()) == {"empty_file"}
    summary = workspace.summary("ingest")
    assert (summary["files_in"], summary["accepted"], summary["quarantined"]) == (49, 9, 40)
    assert workspace.run("split")[0] in {0, 2}


def test_a_stray_without_class_joins_the_pool(workspace: Workspace) -> None:
    """Taking a file anyway needs no class."""
    _release(workspace, "stray.png")
    assert workspace.run("ingest")[0] == 0
    origin = {row["path"]: row["origin"] for row in workspace.table("catalog/own/images")}
    assert origin["stray.png"] == "pool"


@pytest.mark.parametrize(
    ("path", "label", "message"),
    [
        ("pool/bad", None, "(empty_file, 0 bytes) cannot be released"),
        ("pool/none.png", None, "is not in the quarantine of own"),
        ("stray.png", "aa", "no labeled image has the class 'aa'; did you mean 'a'?"),
        ("labeled/a/x.png", None, "needs a class"),
    ],
)
def test_what_cannot_be_released(workspace: Workspace, path: str, label: str | None, message: str) -> None:
    """Undecodable bytes, unknown paths and classes are refused before anything is written."""
    with pytest.raises(UserError) as caught:
        _release(workspace, path, label)
    assert message in str(caught.value)
    assert not (workspace.folder / files.RELEASES).exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,path\n", "line 1: the header is"),
        ("source,path,reason,label,who\nown,a.png\n", "line 2: 2 columns, expected 5"),
        ("source,path,reason,label,who\nown,a.png,truncated,,x\n", "line 2: 'truncated' cannot be released"),
        ("source,path,reason,label,who\nown,stray.png,misplaced,aa,x\n", "line 2: no labeled image has the class 'aa'"),
    ],
)
def test_a_ledger_that_cannot_be_right(workspace: Workspace, text: str, message: str) -> None:
    """Exit 2 with file and line."""
    write_all(workspace.folder, {files.RELEASES.as_posix(): text.encode()})
    code, said = workspace.run("ingest")
    assert (code, message in said, files.RELEASES.as_posix() in said) == (2, True, True), said


def test_resolutions_take_the_last_word(tmp_path: Path) -> None:
    """Rows are added, never changed; the last one of an image counts; saying it again adds nothing."""
    path, one, two = tmp_path / "conflicts.csv", "0" * 64, "1" * 64
    assert resolutions.read(path) == {}
    assert resolutions.append(path, {one: "cat", two: "dog"}, "Ann") == 2
    before = path.read_bytes()
    assert resolutions.append(path, {one: "cat"}, "Bob") == 0
    assert resolutions.append(path, {one: "dog"}, "Bob") == 1
    assert path.read_bytes().startswith(before)
    assert resolutions.read(path) == {one: "dog", two: "dog"}
    path.write_text("image_id,label,who,when\nabc,cat,x,y\n")
    with pytest.raises(UserError, match=r"line 2: image_id 'abc' is no sha256"):
        resolutions.read(path)


def test_the_numbers_hold_for_a_table_in_memory(tmp_path: Path) -> None:
    """first_run and last_run follow a row through runs that see it, miss it and see it again."""
    seen: list[dict[str, tuple[int, int]]] = []
    for names in (["a"], ["a", "b"], ["b"], ["a", "b"]):
        intake = Intake()
        for name in names:
            intake.add(Checked(Record(name, "p", "pool", None, b""), None, b"", Refusal("empty_file", "0 bytes")))
        accepted, refused = intake.tables()
        staged = tmp_path / f"staged{len(seen)}"
        staged.mkdir()
        quarantine.write(staged, accepted, refused, intake.total_of, tmp_path / "out")
        files.seal(staged, {"stage": "ingest@own"})
        files.move_into_place(staged, tmp_path / "out")
        now = quarantine.read(tmp_path / "out")
        assert now is not None
        seen.append({row["path"]: (row["first_run"], row["last_run"]) for row in now.now})
    assert seen == [{"a": (1, 1)}, {"a": (1, 2), "b": (2, 2)}, {"b": (2, 3)}, {"a": (1, 4), "b": (2, 4)}]
