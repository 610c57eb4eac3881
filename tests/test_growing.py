"""A source that grows: cost follows what changed, and what did not change stays as it is, byte for byte."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import files, params
from tasks.errors import Busy
from tasks.ingest import PARAMS, ingest
from tasks.leftovers import retire
from tasks.stage import Stage
from tests.images.workspace import Workspace, picture, write_all

START = {f"labeled/{name}/{n}.png": picture(10 * c + n) for c, name in enumerate("ab") for n in range(2)}
OLD = 1_000_000_000 * 10**9  # a time long ago, in ns


def _images(workspace: Workspace) -> dict[str, str]:
    """Path to image_id, as the catalog has it."""
    return {row["path"]: row["image_id"] for row in workspace.table("catalog/own/images")}


def _stored(folder: Path) -> list[tuple[str, bytes]]:
    rows = [row for table in files.iter_tables(folder / files.IMAGES) for row in table.to_pylist()]
    return sorted((row["image_id"], row["bytes"]) for row in rows)


def _shards(workspace: Workspace) -> dict[str, str]:
    return {name: value for name, value in workspace.hashes().items() if "/part-" in name}


def _run(workspace: Workspace) -> dict[str, Any]:
    code, said = workspace.run("ingest")
    assert code == 0, said
    files.verify(workspace.folder / files.images("own"))
    return workspace.summary("ingest")


def test_a_second_ingest_adds_only_new_shards(tmp_path: Path) -> None:
    """Old shards keep bytes and inode, only new files are read, and a run without news changes no artefact."""
    workspace = Workspace(tmp_path)
    write_all(workspace.source, START)
    first = _run(workspace)
    assert (first["read"], first["new"], first["new_images"], first["shards_added"]) == (4, 4, 4, 1)
    shards, inode = _shards(workspace), (tmp_path / "data/images/own/part-00000.parquet").stat().st_ino
    write_all(workspace.source, {"pool/new.png": picture(100), "pool/copy.png": START["labeled/a/0.png"]})
    second = _run(workspace)
    assert (second["read"], second["new"], second["unchanged"]) == (2, 2, 4)
    assert (second["new_images"], second["shards_added"], second["images"]) == (1, 1, 5)
    assert shards.items() <= _shards(workspace).items()
    assert len(_shards(workspace)) == 2
    assert (tmp_path / "data/images/own/part-00000.parquet").stat().st_ino == inode, "it was copied"
    artefacts = {name: value for name, value in workspace.hashes().items() if "metrics" not in name}
    code, said = workspace.run("ingest")
    assert (code, "0 new images in 0 new shards" in said, "0 read" in said) == (0, True, True), said
    assert {name: value for name, value in workspace.hashes().items() if "metrics" not in name} == artefacts


def test_without_the_index_all_is_read_and_nothing_differs(tmp_path: Path) -> None:
    """The index is a pure cache: without it or with a damaged one the artefacts come out the same."""
    hashes = []
    for name, harm in (("kept", None), ("lost", Path.unlink), ("torn", lambda path: path.write_bytes(b"PAR1"))):
        workspace = Workspace(tmp_path / name)
        write_all(workspace.source, START)
        _run(workspace)
        if harm is not None:
            harm(workspace.folder / ".work/ingest@own/index.parquet")
        write_all(workspace.source, {"pool/new.png": picture(100)})
        assert _run(workspace)["read"] == (1 if harm is None else 5)
        hashes.append({n: value for n, value in workspace.hashes().items() if "metrics" not in n})
    assert hashes[0] == hashes[1] == hashes[2]


def test_edited_and_deleted_files_leave_the_catalog_not_the_shards(tmp_path: Path) -> None:
    """An edit in place is another image; an image nobody refers to stays in its shard and is counted."""
    workspace = Workspace(tmp_path)
    write_all(workspace.source, START)
    _run(workspace)
    shards, before = _shards(workspace), _images(workspace)
    (workspace.source / "labeled/a/0.png").write_bytes(picture(200))
    (workspace.source / "labeled/b/1.png").unlink()
    summary = _run(workspace)
    assert [summary[name] for name in ("new", "changed", "unchanged", "deleted")] == [0, 1, 2, 1]
    assert (summary["images"], summary["stored"]) == (3, 5)
    after = _images(workspace)
    assert before["labeled/a/0.png"] not in after.values()
    assert "labeled/b/1.png" not in after
    assert shards.items() <= _shards(workspace).items()


def test_shards_survive_a_kill_between_two_renames(tmp_path: Path) -> None:
    """Killed after the old artefact left its place and before the new one took it: the next run finds it again."""
    workspace = Workspace(tmp_path)
    write_all(workspace.source, START)
    _run(workspace)
    place, aside = tmp_path / "data/images/own", tmp_path / ".work/ingest@own/out/2.old"
    inode = (place / "part-00000.parquet").stat().st_ino
    aside.parent.mkdir()
    place.rename(aside)
    assert _run(workspace)["read"] == 0
    assert (place / "part-00000.parquet").stat().st_ino == inode


def test_a_shard_that_lost_bytes_is_named(tmp_path: Path) -> None:
    """Exit 5 before anything is built on it."""
    workspace = Workspace(tmp_path)
    write_all(workspace.source, START)
    _run(workspace)
    shard = tmp_path / "data/images/own/part-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    code, said = workspace.run("ingest")
    assert code == 5
    assert "data/images/own/part-00000.parquet has" in said


def test_another_source_under_the_name_starts_afresh(tmp_path: Path) -> None:
    """Shards of a source that was replaced by another one are not dragged along."""
    workspace = Workspace(tmp_path)
    write_all(workspace.source, START)
    _run(workspace)
    other = Workspace(tmp_path, source={"path": "other"})
    write_all(tmp_path / "other", {f"labeled/c/{n}.png": picture(300 + n) for n in range(3)})
    assert _run(other)["stored"] == 3


def test_a_source_that_comes_back_goes_on_where_it_was(tmp_path: Path) -> None:
    """Grown in two runs, taken out of the settings and back in: the same shards and runs, and no file is read."""
    workspace = Workspace(tmp_path)
    write_all(workspace.source, START)
    _run(workspace)
    write_all(workspace.source, {"pool/new.png": picture(100), "pool/bad.png": b""})
    _run(workspace)
    (tmp_path / "source/pool/bad.png").unlink()
    _run(workspace)
    before = {name: value for name, value in workspace.hashes().items() if "metrics" not in name}
    with workspace.inside():
        assert retire([]) == ["own"]
        assert not files.images("own").exists()
    code, said = workspace.run("ingest")
    assert (code, "moved aside" in said) == (0, True), said
    assert {name: value for name, value in workspace.hashes().items() if "metrics" not in name} == before
    assert workspace.summary("ingest")["read"] == 0
    assert not (tmp_path / ".work/retired/own").exists()
    assert "moved aside" not in workspace.run("ingest")[1]


@pytest.mark.parametrize("rehash", [0.0, 1.0])
def test_an_edit_that_kept_size_and_time_is_found_by_reading_again(tmp_path: Path, rehash: float) -> None:
    """`scan.rehash` reads unchanged files all the same: exit 5 names the file; `touch` takes it in as it is."""
    workspace = Workspace(tmp_path, scan={"settle_seconds": 0, "rehash": rehash})
    write_all(workspace.source, START)
    _run(workspace)
    path = workspace.source / "labeled/a/0.png"
    info, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    code, said = workspace.run("ingest")
    if not rehash:
        assert code == 0, said
        return
    assert code == 5, said
    assert "'labeled/a/0.png' has other content" in said
    assert "touch" in said
    path.write_bytes(picture(77))
    assert _run(workspace)["changed"] == 1


def test_rehash_draws_its_share_and_others_each_time(tmp_path: Path) -> None:
    """Half of the files in a run, and every file after a few runs."""
    workspace = Workspace(tmp_path, scan={"settle_seconds": 0, "rehash": 0.5})
    write_all(workspace.source, START | {f"pool/{n}.png": picture(400 + n) for n in range(36)})
    _run(workspace)
    read = [_run(workspace)["read"] for _ in range(4)]
    assert all(8 <= count <= 32 for count in read), read
    assert len(set(read)) > 1, "the same files each time"


@pytest.mark.parametrize("mtime", [0, 2**32])
def test_odd_times_do_not_block(tmp_path: Path, mtime: int) -> None:
    """1970 waits for nothing, 2106 no longer than `settle_seconds`; both are taken in."""
    workspace = Workspace(tmp_path, scan={"settle_seconds": 0.2, "rehash": 0.0})
    write_all(workspace.source, START)
    for path in workspace.source.rglob("*.png"):
        os.utime(path, (mtime, mtime))
    code, said = workspace.run("ingest")
    assert code == 0, said
    assert ("waiting" in said) == (mtime > 0)


def test_a_file_still_being_copied_in_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It grew while its time was to settle: exit 75 names the folder and nothing is taken in."""
    workspace = Workspace(tmp_path, scan={"settle_seconds": 0.2, "rehash": 0.0})
    write_all(workspace.source, START)
    with workspace.inside():
        stage = Stage("ingest@own", params.load(), [p.format(key="own") for p in PARAMS])
        copied = workspace.source / "pool/big.png"
        write_all(workspace.source, {"pool/big.png": picture(1)[:50]})
        monkeypatch.setattr("time.sleep", lambda seconds: copied.write_bytes(picture(1)))
        with pytest.raises(Busy, match="source/pool' changed"):
            ingest(stage, "own")


def _timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the numbers of the runs that saw a row: these are the history itself."""
    return [{name: value for name, value in row.items() if name not in {"first_run", "last_run"}} for row in rows]


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["add", "edit", "delete", "copy", "bad", "forget"]), st.integers(0, 7), st.integers(0, 9)
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=8, deadline=None)
@given(st.lists(ACTS, min_size=1, max_size=3))
def test_any_history_gives_what_one_look_gives(history: list[list[tuple[str, int, int]]]) -> None:
    """After any additions, edits, deletions and lost indexes: the catalog and quarantine are those of a first ingest
    of the same folder, its images are stored with their bytes, and no shard ever changed."""
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name) / "grown")
        write_all(workspace.source, START)
        _run(workspace)
        shards = _shards(workspace)
        for acts in history:
            for act, place, number in acts:
                path = workspace.source / f"pool/{place}.png"
                path.parent.mkdir(exist_ok=True)
                if act == "delete":
                    path.unlink(missing_ok=True)
                elif act == "forget":
                    (workspace.folder / ".work/ingest@own/index.parquet").unlink(missing_ok=True)
                else:
                    content = START["labeled/a/0.png"] if act == "copy" else picture(500 + number)
                    path.write_bytes(content[: len(content) // 2] if act == "bad" else content)
            _run(workspace)
            assert shards.items() <= _shards(workspace).items()
            shards = _shards(workspace)
        fresh = Workspace(Path(name) / "fresh", source={"path": "../grown/source"})
        _run(fresh)
        for table in ("catalog/own/images", "catalog/own/labels", "quarantine/own/quarantine"):
            assert _timeless(workspace.table(table)) == _timeless(fresh.table(table)), table
        assert set(_stored(fresh.folder)) <= set(_stored(workspace.folder))
        assert len(_stored(workspace.folder)) == len(set(_stored(workspace.folder))), "stored twice"


def test_only_what_the_source_says_is_unchanged_is_believed(tmp_path: Path) -> None:
    """The index answers for the very file it saw: another size, time, inode or settings and it is read."""
    workspace = Workspace(tmp_path)
    write_all(workspace.source, START)
    _run(workspace)
    path = workspace.source / "labeled/a/0.png"
    os.utime(path, ns=(OLD, OLD))
    assert _run(workspace)["read"] == 1
    path.with_name("x").write_bytes(path.read_bytes())
    os.utime(path.with_name("x"), ns=(OLD, OLD))
    path.with_name("x").replace(path)
    assert _run(workspace)["read"] == 1
    assert _run(workspace)["read"] == 0
    again = Workspace(tmp_path, ingest={"max_pixels": 100, "max_bad_fraction": 1.0})
    assert _run(again)["read"] == 4
