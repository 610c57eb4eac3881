"""A pool that grows: what was drawn and predicted stays, and cost, cache and remote grow by what is new."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import files, params
from tasks.split import Found, draw
from tests.conftest import Project
from tests.images.workspace import Workspace, picture, write_all

FOLLOWED = {"images", "fingerprints", "split", "sealed"}
NO_NEAR = params.Duplicates(near=False, distance=0.1, max_conflicts=0.05)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 30), st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**31 - 1))
def test_a_grown_pool_moves_no_labeled_image(labeled: int, pool: int, more: int, seed: int) -> None:
    """labeled, calib, gate and test are drawn from the labeled images alone."""
    label_of = {f"{n:064x}": "ab"[n % 2] for n in range(labeled + 2)}
    wanted = params.Split(labels=None, test=1 if labeled > 6 else 0, calib=0, gate=0, duplicates=NO_NEAR)
    ids = [f"{10_000 + n:064x}" for n in range(pool + more)]

    def drawn(pool_ids: list[str]) -> tuple[dict[str, str], ...]:
        roles = draw(Found(["a", "b"], label_of, {*label_of}, {*pool_ids}, set()), wanted, seed)
        return roles.labeled, roles.calib, roles.gate, roles.test

    assert drawn(ids[:pool]) == drawn(ids)


def _files(folder: Path) -> dict[str, int]:
    return {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}


def _grow_by_folder(project: Project) -> None:
    """The tiny project with a folder of 16 labeled and 40 unlabeled pictures as its source."""

    def change(raw: dict[str, Any]) -> None:
        raw["sources"] = {"own": {"kind": "folder", "path": "pictures"}}
        raw["split"].update(labels=None, test=4)
        raw["image"].update(channels=3)
        raw["train"].update(batch=4)
        raw["ingest"].update(max_bad_fraction=1.0)
        raw["label"].update(chunk=16)

    project.edit(change)
    labeled = {f"labeled/{name}/{n}.png": picture(50 * c + n) for c, name in enumerate("ab") for n in range(8)}
    write_all(project.folder / "pictures", labeled | {f"pool/{n}.png": picture(1000 + n) for n in range(40)})


def test_a_hundred_new_images_cost_a_hundred_predictions(fresh_project: Project, tmp_path: Path) -> None:
    """Through real DVC: the teacher is not trained again, exactly the new images are labeled, and the cache, of which a
    push sends what the remote lacks, grows by the new shards alone."""
    project = fresh_project.copy(tmp_path / "project")
    _grow_by_folder(project)
    cache = project.folder / ".dvc/cache"
    assert project.repro("label@r1")[0] == "ingest@own"
    first = project.folder / "data/images/own/part-00000.parquet"
    identity, known = (first.stat().st_ino, files.sha256_file(first)), _files(cache)
    write_all(project.folder / "pictures", {f"pool/new{n}.png": picture(2000 + n) for n in range(100)})
    assert project.repro("label@r1") == ["ingest@own", "fingerprint@own", "split", "labeled", "label@r1"]
    counts = files.read_json(project.folder / "data/metrics/label-r1.json")
    assert (counts["predicted"], counts["reused"], counts["images"]) == (100, 40, 140)
    assert (first.stat().st_ino, files.sha256_file(first)) == identity
    shards = files.parts(project.folder / "data/images")
    assert len(shards) == 2
    added = {name: size for name, size in _files(cache).items() if name not in known}
    large = [size for size in added.values() if size == shards[1].stat().st_size]
    assert (len(large), first.stat().st_size in added.values()) == (1, False), "an old shard is there twice"


def test_a_broken_file_or_a_copy_changes_nothing_that_follows(tmp_path: Path) -> None:
    """`fingerprint` reads data/images, everything after `split` what it wrote: all of these come out as they were."""
    workspace = Workspace(tmp_path, split={"test": 1})
    labeled = {f"labeled/{name}/{n}.png": picture(50 * c + n) for c, name in enumerate("ab") for n in range(4)}
    write_all(workspace.source, labeled | {f"pool/{n}.png": picture(1000 + n) for n in range(10)})

    def artefacts() -> dict[str, str]:
        for stage in ("ingest", "fingerprint", "split"):
            code, said = workspace.run(stage)
            assert code == 0, said
        return {name: value for name, value in workspace.hashes().items() if name.split("/")[1] in FOLLOWED}

    before = artefacts()
    assert {name.split("/")[1] for name in before} == FOLLOWED
    write_all(workspace.source, {"pool/broken.png": b"", "pool/copy.png": picture(1000)})
    assert artefacts() == before
