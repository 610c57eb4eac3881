"""The folder source: places, classes, junk, odd names, links and what must never be opened."""

import os
from pathlib import Path

import pytest

from tasks.errors import UserError
from tasks.images import folder
from tasks.images.record import IGNORED, Record, Refusal
from tests.images.workspace import Workspace, picture, write_all


def _read(root: Path) -> dict[str, Record]:
    records = list(folder.read(root, "understudy").records)
    assert len({record.path for record in records}) == len(records)
    return {record.path: record for record in records}


def _refused(record: Record) -> str | None:
    return record.content.reason if isinstance(record.content, Refusal) else None


def test_places_and_depth(tmp_path: Path) -> None:
    """The class is the first folder under labeled/ or test/, at any depth; the pool has none."""
    names = ["labeled/cat/1.png", "labeled/dog/a/b/c/2.png", "pool/x/y/3.png", "pool/4.png", "test/cat/z/5.png"]
    write_all(tmp_path, dict.fromkeys(names, b"x"))
    source = folder.read(tmp_path, "understudy")
    assert source.classes == ["cat", "dog"]
    assert source.total == 5
    assert [(r.path, r.origin, r.label) for r in source.records] == [
        ("labeled/cat/1.png", "labeled", "cat"),
        ("labeled/dog/a/b/c/2.png", "labeled", "dog"),
        ("pool/4.png", "pool", None),
        ("pool/x/y/3.png", "pool", None),
        ("test/cat/z/5.png", "test", "cat"),
    ]


def test_junk_is_ignored_and_strays_are_named(tmp_path: Path) -> None:
    """Files of Finder and Explorer do not count as bad; a file outside a class does."""
    junk = ["labeled/cat/.DS_Store", "labeled/cat/Thumbs.db", "pool/.hidden/1.png", "__MACOSX/labeled/x.png"]
    stray = ["readme.md", "labeled/1.png", "test/2.png"]
    write_all(tmp_path, dict.fromkeys([*junk, *stray, "labeled/cat/1.png"], b"x"))
    records = _read(tmp_path)
    assert [_refused(records[name]) for name in junk] == [IGNORED] * len(junk)
    assert [_refused(records[name]) for name in stray] == ["misplaced"] * len(stray)


def test_links_and_pipes_are_refused_unopened(tmp_path: Path) -> None:
    """A link that leaves the root, a link to a folder and a pipe are refused; a link that stays is read."""
    root = tmp_path / "source"
    write_all(tmp_path, {"secret.png": b"secret", "source/labeled/cat/1.png": b"x", "source/pool/2.png": b"y"})
    pool = root / "pool"
    (pool / "inside.png").symlink_to("2.png")
    (pool / "outside.png").symlink_to("../../secret.png")
    (pool / "loop").symlink_to(root)
    (pool / "away").symlink_to(tmp_path)
    (pool / "nowhere.png").symlink_to("none.png")
    os.mkfifo(pool / "pipe.png")
    records = _read(root)
    assert {name.removeprefix("pool/"): _refused(record) for name, record in records.items() if name[0] == "p"} == {
        "2.png": None,
        "inside.png": None,
        "nowhere.png": None,
        "outside.png": "link_outside_root",
        "away": "link_outside_root",
        "loop": "link_to_folder",
        "pipe.png": "not_regular",
    }


def test_odd_names_survive(tmp_path: Path) -> None:
    """Newlines, quotes, dashes, long, non-ASCII and non-UTF-8 names come through ingest, each with its own image."""
    workspace = Workspace(tmp_path)
    odd = [b"new\nline.png", b"-rf '\".png", b"\xff\xfe.png", "é日本🎈.png".encode(), b"x" * 251 + b".png", b" .png"]
    write_all(workspace.source, {"labeled/cat/1.png": picture(0)})
    (workspace.source / "pool").mkdir()
    for number, name in enumerate(odd):
        with open(os.fsencode(workspace.source / "pool") + b"/" + name, "wb") as stream:
            stream.write(picture(number + 1))
    assert workspace.run("ingest")[0] == 0
    paths = {row["path"] for row in workspace.table("catalog/own/images")}
    assert {f"pool/{name.decode('utf-8', 'backslashreplace')}" for name in odd} < paths


def test_a_folder_that_has_no_place_is_refused(tmp_path: Path) -> None:
    """A pool called `unlabeled` is not silently left out."""
    write_all(tmp_path, {"labeled/cat/1.png": b"x", "unlabeled/2.png": b"x"})
    with pytest.raises(UserError, match="did you mean 'pool'"):
        folder.read(tmp_path, "understudy")


def test_a_test_class_without_labels_is_refused(tmp_path: Path) -> None:
    """A misspelt test class is named with the nearest known one."""
    write_all(tmp_path, {"labeled/horse/1.png": b"x", "test/hores/2.png": b"x"})
    with pytest.raises(UserError, match="did you mean 'horse'"):
        folder.read(tmp_path, "understudy")


def test_no_class_folders(tmp_path: Path) -> None:
    """A labeled/ without class folders says what is expected."""
    write_all(tmp_path, {"labeled/1.png": b"x"})
    with pytest.raises(UserError, match="expected labeled/<class>/<image>"):
        folder.read(tmp_path, "understudy")
