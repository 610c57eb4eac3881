"""Ingest as a user sees it: what is taken in, what is refused and why, and that the numbers add up."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import files, params
from tasks.errors import Busy
from tasks.ingest import PARAMS, ingest
from tasks.stage import Stage
from tests.images.workspace import Workspace, picture, write_all, write_hf

CLASSES = ["ant", "bee", "cow"]
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda content: content,
    "empty_file": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "not_an_image": lambda content: b"x" + content,
    "format_not_allowed": lambda content: b"8BPS" + content,
}
OUTCOMES = st.lists(st.tuples(st.sampled_from([*CLASSES, ""]), st.sampled_from([*DAMAGE])), min_size=1, max_size=14)


def _id(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_alignment(workspace: Workspace, wanted: dict[str, tuple[bytes, str, str]]) -> None:
    """Every record is where it belongs: accepted with its own id and label, or quarantined for its own reason."""
    good = {path: (_id(content), label) for path, (content, label, damage) in wanted.items() if damage == "none"}
    accepted = {row["path"]: row["image_id"] for row in workspace.table("catalog/own/images")}
    assert accepted == {path: image_id for path, (image_id, _) in good.items()}
    assert workspace.labels() == {path: value for path, value in good.items() if value[1]}
    assert workspace.reasons() == {path: damage for path, (_, _, damage) in wanted.items() if damage != "none"}
    shards = [row for table in files.iter_tables(workspace.folder / files.IMAGES) for row in table.to_pylist()]
    assert {row["image_id"]: _id(row["bytes"]) for row in shards} == {i: i for i in accepted.values()}
    summary = workspace.summary("ingest")
    assert summary["files_in"] == len(wanted) == summary["accepted"] + summary["quarantined"]


@settings(max_examples=12, deadline=None)
@given(OUTCOMES)
def test_no_label_moves_when_any_file_goes_bad(outcomes: list[tuple[str, str]]) -> None:
    """Whichever files are damaged in whatever way, the others keep their own id, label and bytes (C5, C7)."""
    wanted = {}
    for number, (label, damage) in enumerate(outcomes):
        path = f"labeled/{label}/{number}.png" if label else f"pool/{number}.png"
        wanted[path] = (DAMAGE[damage](picture(number)), label, damage)
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name))
        write_all(workspace.source, {path: content for path, (content, *_) in wanted.items()})
        for label in CLASSES:
            (workspace.source / "labeled" / label).mkdir(parents=True, exist_ok=True)
        code, said = workspace.run("ingest")
        assert code == 0, said
        _check_alignment(workspace, wanted)
        code, said = workspace.run("split")
        is_labeled = any(label and damage == "none" for label, damage in outcomes)
        assert ("no_labels" in said) == (not is_labeled), said


@settings(max_examples=8, deadline=None)
@given(OUTCOMES)
def test_no_label_moves_in_a_table_either(outcomes: list[tuple[str, str]]) -> None:
    """The same for rows of a Parquet table, where labels are numbers beside the bytes."""
    outcomes = [("bee", "none"), *outcomes]
    rows = [
        (DAMAGE[damage](picture(number)), f"{number}.png", CLASSES.index(label) if label else None)
        for number, (label, damage) in enumerate(outcomes)
    ]
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name), source={"kind": "manifest", "path": "source/rows.parquet"})
        write_hf(workspace.source / "rows.parquet", rows, CLASSES)
        code, said = workspace.run("ingest")
        assert code == 0, said
        wanted = {
            f"rows#{number + 1}/{path}": (content or b"", outcomes[number][0], outcomes[number][1])
            for number, (content, path, _) in enumerate(rows)
        }
        _check_alignment(workspace, wanted)


def _cats(count: int) -> dict[str, bytes]:
    return {f"labeled/cat/{number}.png": picture(number) for number in range(count)}


def test_duplicates_and_conflicts(tmp_path: Path) -> None:
    """Equal bytes are one image with all its paths; under two labels they are nobody's, and their bytes leave."""
    workspace = Workspace(tmp_path)
    twice, torn, elsewhere = picture(100), picture(101), picture(102)
    write_all(workspace.source, {**_cats(2), "labeled/cat/a.png": twice, "pool/b.png": twice})
    write_all(workspace.source, {"labeled/cat/c.png": torn, "labeled/dog/d.png": torn})
    write_all(
        workspace.source, {"labeled/cat/e.png": elsewhere, "labeled/dog/f.png": elsewhere, "pool/g.png": elsewhere}
    )
    code, said = workspace.run("ingest")
    assert code == 0, said
    assert workspace.reasons() == dict.fromkeys(
        ["labeled/cat/c.png", "labeled/dog/d.png", "labeled/cat/e.png", "labeled/dog/f.png"], "label_conflict"
    )
    assert "the same image is labeled 'cat' and 'dog'" in workspace.table("quarantine/own/quarantine")[0]["detail"]
    rows = {row["path"]: row["image_id"] for row in workspace.table("catalog/own/images")}
    assert rows["pool/g.png"] == _id(elsewhere)
    stored = {i for table in files.iter_tables(tmp_path / files.IMAGES) for i in table["image_id"].to_pylist()}
    assert stored == set(rows.values())
    assert _id(torn) not in stored
    summary = workspace.summary("ingest")
    assert (summary["images"], summary["duplicates"]) == (4, 1)
    assert summary["origin"] == {"labeled": 3, "pool": 2}


def test_the_summary_counts_what_was_noted(tmp_path: Path) -> None:
    """Wrong extensions are accepted and counted, junk is ignored and counted."""
    workspace = Workspace(tmp_path)
    write_all(workspace.source, {**_cats(1), "labeled/cat/x.jpg": picture(7), "labeled/cat/.DS_Store": b"x"})
    assert workspace.run("ingest")[0] == 0
    summary = workspace.summary("ingest")
    assert (summary["wrong_extension"], summary["ignored"], summary["files_in"]) == (1, 1, 2)


def test_too_many_bad_files_stop_the_run(tmp_path: Path) -> None:
    """Exit 3: counts by reason and folder, examples, and the key to change; nothing is published."""
    workspace = Workspace(tmp_path, ingest={"max_bad_fraction": 0.5})
    write_all(
        workspace.source, {**_cats(10), **{f"pool/broken/{n}.jpg": b"" for n in range(100)}, "pool/a\nb.jpg": b"-"}
    )
    code, said = workspace.run("ingest")
    assert code == 3
    assert "101 of 111 files cannot be used (91.0%, allowed 50.0%)" in said
    assert "  empty_file: 100\n  not_an_image: 1\n" in said
    assert "in 'pool/broken': all 100 files (empty_file 100)" in said
    assert "'pool/a\\nb.jpg': not_an_image, the content is no image" in said
    assert "raise ingest.max_bad_fraction in params.yaml (now 0.5)" in said
    assert len(said.splitlines()) < 15, "a bad folder is one line"
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"decisions"}, "nothing is published"


@pytest.mark.parametrize(
    ("kind", "content", "code"),
    [
        ("folder", {"labeled/cat/.DS_Store": b"x"}, "empty_source"),
        ("folder", {"pool/1.png": b"x"}, "no_labels"),
        ("folder", {"labeled/cat/1.png": b"x", "pool/1.png": picture(0)}, "no_labels"),
        ("folder", {}, "no_source"),
        ("manifest", {"x": b""}, "no_source"),
        ("manifest", {}, "no_source"),
    ],
)
def test_sources_that_hold_nothing_useful(tmp_path: Path, kind: str, content: dict[str, bytes], code: str) -> None:
    """Exit 2 with the setting to look at and a way to mend it."""
    workspace = Workspace(tmp_path, source={"kind": kind})
    write_all(workspace.source, content)
    exit_code, said = workspace.run("ingest")
    if not exit_code:  # no labels: another source may bring them, so it is the split that says so
        exit_code, said = workspace.run("split")
    assert exit_code == 2
    assert f"error [{code}]" in said
    assert "source" in said
    assert "fix: " in said
    assert "Traceback" not in said


def test_an_unreadable_file_costs_only_itself(tmp_path: Path) -> None:
    """A file that cannot be opened is quarantined with the system's reason."""
    workspace = Workspace(tmp_path)
    write_all(workspace.source, _cats(2))
    (workspace.source / "labeled/cat/gone.png").symlink_to("nothing.png")
    os.mkfifo(workspace.source / "labeled/cat/pipe.png")
    assert workspace.run("ingest")[0] == 0
    assert workspace.reasons() == {"labeled/cat/gone.png": "unreadable", "labeled/cat/pipe.png": "not_regular"}


@pytest.mark.parametrize("threads", [1, 5])
def test_two_runs_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """The digits come out byte for byte the same again, with any number of threads."""
    workspace = Workspace(tmp_path, source={"kind": "digits", "path": "params.yaml"}, split={"labels": 50, "test": 400})
    assert [workspace.run(name)[0] for name in ("ingest", "fingerprint", "split")] == [0, 0, 0]
    first = workspace.hashes()
    workspace.clear()
    monkeypatch.setattr(os, "cpu_count", lambda: threads)
    assert [workspace.run(name)[0] for name in ("ingest", "fingerprint", "split")] == [0, 0, 0]
    assert workspace.hashes() == first
    assert pq.read_metadata(tmp_path / "data/images/own/part-00000.parquet").num_rows == 1797


@pytest.mark.parametrize("late", ["labeled/cat/new.png", "labeled/cat/0.png"])
def test_a_source_that_changes_meanwhile_is_not_published(tmp_path: Path, late: str) -> None:
    """DVC would record a file added or rewritten after the reading as if it had been taken in."""
    workspace = Workspace(tmp_path)
    write_all(workspace.source, _cats(2))
    with workspace.inside():
        stage = Stage("ingest@own", params.load(), [p.format(key="own") for p in PARAMS])
        ingest(stage, "own")
        write_all(workspace.source, {late: b"x"})
        with pytest.raises(Busy, match="changed while ingest@own ran"):
            stage.publish()
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"decisions"}, "nothing is published"
