"""Copies through the stages: one group has one role, contradictions wait for a person, fingerprints are reused."""

import io
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tasks import files, params, stage
from tasks.errors import BAD_INPUT, TOO_MANY_BAD, UserError
from tasks.roles import Found, conserve, draw
from tests.images.workspace import Workspace, write_all

CLASSES = ["ant", "bee", "cow"]
WANTED = params.Split(
    labels=None,
    test=0,
    calib=2,
    gate=2,
    duplicates=params.Duplicates(near=True, distance=0.2, max_conflicts=0.5),
)


def _scene(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC)


def _saved(image: Image.Image, format_: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, quality=60)
    return stream.getvalue()


def _jpeg(seed: int) -> bytes:
    return _saved(_scene(seed), "JPEG")


def _workspace(folder: Path, max_conflicts: float = 0.5) -> Workspace:
    duplicates = {"near": True, "distance": 0.2, "max_conflicts": max_conflicts}
    workspace = Workspace(folder, split={"labels": None, "test": 0, "duplicates": duplicates})
    labeled = {
        f"labeled/{name}/{n}.png": _saved(_scene(n + 10 * k)) for k, name in enumerate(CLASSES) for n in range(4)
    }
    write_all(workspace.source, labeled | {f"pool/{n}.png": _saved(_scene(100 + n)) for n in range(6)})
    write_all(workspace.source, {f"test/ant/{n}.png": _saved(_scene(200 + n)) for n in range(4)})
    return workspace


def _run(workspace: Workspace) -> str:
    said = ""
    for name in ("ingest", "fingerprint", "split"):
        code, said = workspace.run(name)
        assert code == 0, said
    return said


def _by_path(workspace: Workspace, table: str, column: str) -> dict[str, str]:
    path_of = {row["image_id"]: row["path"] for row in workspace.table("catalog/own/images")}
    return {path_of[row["image_id"]]: row[column] for row in workspace.table(table)}


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 99), data=st.data())
def test_no_group_stands_on_two_sides(seed: int, data: st.DataObject) -> None:
    """Whatever is a copy of what: a group is learnt from, held out, in the pool or set aside, and counts add up."""
    ids = [f"{number:03d}" for number in range(60)]
    label_of = {i: CLASSES[number % 3] for number, i in enumerate(ids)}
    places = data.draw(st.lists(st.sampled_from(["labeled", "pool", "test"]), min_size=60, max_size=60))
    lies_in = {p: {i for i, place in zip(ids, places, strict=True) if place == p} for p in ("labeled", "pool", "test")}
    named = {i: label_of[i] for i in lies_in["labeled"] | lies_in["test"]}
    parts = data.draw(st.lists(st.integers(0, 40), min_size=60, max_size=60))
    members = {part: [i for i, p in zip(ids, parts, strict=True) if p == part] for part in set(parts)}
    group_of = {i: min(group) for group in members.values() if len(group) > 1 for i in group}
    found = Found(CLASSES, named, **lies_in, group_of=group_of)
    try:
        roles = draw(found, WANTED, seed)
    except UserError:
        assume(False)
    assert conserve(found, roles)["images"] == 60
    side_of: dict[str, set[str]] = {}
    learnt, held = set(roles.labeled), {*roles.test, *roles.calib, *roles.gate}
    in_pool = {i for i, status in roles.status.items() if status == "pool"}
    for name, side in (("learnt", learnt), ("held", held), ("pool", in_pool)):
        for image_id in side:
            side_of.setdefault(found.group(image_id), set()).add(name)
    assert all(len(sides) == 1 for sides in side_of.values())
    assert Counter(found.group(i) for i in learnt | set(roles.calib) | set(roles.gate)).most_common(1)[0][1] == 1
    for image_id in roles.conflicts:
        assert roles.status[image_id] == "conflict"
    for group in {found.group(i) for i in learnt}:
        labels = {named[i] for i in lies_in["labeled"] if found.group(i) == group}
        assert len(labels) == 1, "labels that contradict each other are not learnt from"


def test_copies_of_held_out_and_labeled_images_leave_the_pool(tmp_path: Path) -> None:
    """Exact, encoded again, resized and mirrored copies get the status of what they copy, and all are listed."""
    workspace = _workspace(tmp_path)
    planted = {
        "pool/exact.png": _saved(_scene(200)),
        "pool/again.jpg": _jpeg(201),
        "pool/mirrored.png": _saved(ImageOps.mirror(_scene(202))),
        "pool/small.png": _saved(_scene(203).resize((30, 30))),
        "pool/known.png": _saved(_scene(0)),
        "pool/known.jpg": _jpeg(11),
        "pool/twin.jpg": _jpeg(100),
        "labeled/ant/leak.jpg": _jpeg(203),
    }
    write_all(workspace.source, planted)
    said = _run(workspace)
    assert "1 labeled images are near copies of test images" in said
    status = _by_path(workspace, "split/pool", "status")
    expected = {
        "pool/again.jpg": "near_held_out",
        "pool/mirrored.png": "near_held_out",
        "pool/small.png": "near_held_out",
        "labeled/ant/leak.jpg": "near_held_out",
        "pool/known.jpg": "near_duplicate",
        "pool/twin.jpg": "pool",
    }
    assert {path: status[path] for path in expected} == expected
    assert Counter(status.values()) == {
        "pool": 7,
        "near_held_out": 4,
        "near_duplicate": 1,
        "held_out": 1,
        "duplicate": 1,
    }
    group = _by_path(workspace, "split/pool", "group")
    assert group["pool/twin.jpg"] == group["pool/0.png"] is not None
    assert group["pool/1.png"] is None
    listed = Counter((row["kind"], row["match_role"]) for row in workspace.table("split/duplicates"))
    assert listed[("exact", "test")] == listed[("exact", "labeled")] == 1
    assert listed[("flipped", "test")] == 1
    assert listed[("near", "labeled")] == 1
    reasons = Counter(row["reason"] for row in workspace.table("labels/r0/labels"))
    assert reasons == {"unlabeled": 7, "near_held_out": 4, "near_duplicate": 1, "held_out": 1, "duplicate": 1}


def test_a_contradiction_waits_for_a_person(tmp_path: Path) -> None:
    """Two labels for one picture: neither is learnt from until data/decisions/conflicts.csv says which is right."""
    workspace = _workspace(tmp_path)
    write_all(
        workspace.source, {"labeled/bee/again.jpg": _jpeg(0), "pool/third.png": _saved(_scene(0).resize((40, 40)))}
    )
    said = _run(workspace)
    assert "1 pictures carry two labels (2 images)" in said
    rows = workspace.table("split/conflicts")
    assert {(row["path"], row["label"]) for row in rows} == {
        ("labeled/ant/0.png", "ant"),
        ("labeled/bee/again.jpg", "bee"),
    }
    learnt = {row["image_id"] for row in workspace.table("split/labeled")}
    assert not learnt & {row["image_id"] for row in rows}
    status = _by_path(workspace, "split/pool", "status")
    assert {path for path, value in status.items() if value == "conflict"} == {
        "labeled/ant/0.png",
        "labeled/bee/again.jpg",
        "pool/third.png",
    }
    wrong = next(row["image_id"] for row in rows if row["label"] == "bee")
    (tmp_path / files.CONFLICTS).write_text(f"image_id,label,who,when\n{wrong},ant,me,now\n")
    assert "carry two labels" not in _run(workspace)
    assert workspace.table("split/conflicts") == []
    assert workspace.summary("split")["labeled"] == 12, "the copies count once"
    (tmp_path / files.CONFLICTS).write_text(f"image_id,label,who,when\n{wrong},ent,me,now\n")
    code, said = workspace.run("split")
    assert code == BAD_INPUT
    assert "'ent'" in said


def test_too_many_contradictions_stop_the_run(tmp_path: Path) -> None:
    """Where a large share of the labels contradicts itself, nothing is split (exit 3)."""
    workspace = _workspace(tmp_path, max_conflicts=0.1)
    write_all(workspace.source, {"labeled/bee/again.jpg": _jpeg(0)})
    assert [workspace.run(name)[0] for name in ("ingest", "fingerprint")] == [0, 0]
    code, said = workspace.run("split")
    assert code == TOO_MANY_BAD
    assert "2 of 13 labeled images" in said
    assert not (tmp_path / "data/split").exists()


@pytest.mark.parametrize(
    "text", ["image_id,label\n", "image_id,label,who,when\na,b\n", "image_id,label,who,when\n,x,y,z\n"]
)
def test_a_bad_resolution_names_its_line(tmp_path: Path, text: str) -> None:
    """Another header, a short row and an empty cell are refused with file and line."""
    workspace = _workspace(tmp_path)
    assert [workspace.run(name)[0] for name in ("ingest", "fingerprint")] == [0, 0]
    (tmp_path / files.CONFLICTS).write_text(text)
    code, said = workspace.run("split")
    assert code == BAD_INPUT
    assert "conflicts.csv, line" in said


def test_fingerprints_of_an_unchanged_part_are_reused(tmp_path: Path) -> None:
    """The second run decodes nothing and writes the same bytes; a damaged kept file is made again."""
    workspace = _workspace(tmp_path)
    workspace.run("ingest")
    assert "22 of them new" in workspace.run("fingerprint")[1]
    before = workspace.hashes()
    shutil.rmtree(tmp_path / "data/fingerprints")
    assert "0 of them new" in workspace.run("fingerprint")[1]
    assert workspace.hashes() == before
    kept = next((tmp_path / ".work/fingerprint@own/kept").iterdir())
    kept.write_bytes(kept.read_bytes()[:-40])
    assert "22 of them new" in workspace.run("fingerprint")[1]
    assert workspace.hashes() == before


def test_a_contradiction_between_sources_names_both(tmp_path: Path) -> None:
    """Each label stands beside the source and path that gave it, not beside the first place of the picture."""
    workspace = _workspace(tmp_path)
    twin = (workspace.source / "labeled/ant/0.png").read_bytes()
    write_all(tmp_path / "other", {"labeled/bee/x.png": twin, "labeled/bee/y.png": _saved(_scene(77))})
    settings = yaml.load((tmp_path / "params.yaml").read_text(), yaml.CSafeLoader)
    settings["sources"]["other"] = {"kind": "folder", "path": "other"}
    (tmp_path / "params.yaml").write_text(yaml.dump(settings, Dumper=yaml.CSafeDumper))
    with workspace.inside():
        assert [stage.main(name, "other") for name in ("ingest", "fingerprint")] == [0, 0]
    _run(workspace)
    assert [(row["label"], row["source"], row["path"]) for row in workspace.table("split/conflicts")] == [
        ("ant", "own", "labeled/ant/0.png"),
        ("bee", "other", "labeled/bee/x.png"),
    ]
