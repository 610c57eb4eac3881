"""Who trains, calibrates, compares and tests: drawn by id, each image once."""

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks import files, params
from tasks.errors import UserError
from tasks.roles import Found, conserve, draw
from tasks.split import unlabeled_table
from tests.images.workspace import Workspace, picture, write_all

CLASSES = ["ant", "bee", "cow"]


def _ids(count: int, start: int = 0) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(start, start + count)]


def _labeled(count: int) -> dict[str, str]:
    return {image_id: CLASSES[number % 3] for number, image_id in enumerate(_ids(count))}


def _found(labels: dict[str, str], pool: Iterable[str] = (), test: Iterable[str] = ()) -> Found:
    return Found(CLASSES, labels, set(labels), set(pool), set(test))


def _want(labels: int | None = None, test: int = 0, calib: int = 0, gate: int = 0) -> params.Split:
    duplicates = params.Duplicates(near=True, distance=0.15, max_conflicts=0.05)
    return params.Split(labels=labels, test=test, calib=calib, gate=gate, duplicates=duplicates)


def _slow(found: Found, wanted: params.Split, seed: int) -> tuple[set[str], set[str]]:
    """The rule in plain words: sort by sha256(seed:id), cut off the test, then take the first n of each class."""
    order = sorted(found.labeled - found.test, key=lambda i: hashlib.sha256(f"{seed}:{i}".encode()).hexdigest())
    test = found.test or set(order[: wanted.test])
    labeled = set()
    assert wanted.labels is not None
    for name in found.classes:
        mine = [image_id for image_id in order if image_id not in test and found.label_of[image_id] == name]
        labeled |= set(mine[: wanted.labels // len(found.classes)])
    return test, labeled


@settings(deadline=None)
@given(seed=st.integers(0, 99), data=st.data())
def test_every_image_has_one_role(seed: int, data: st.DataObject) -> None:
    """Whatever lies where: roles add up, every pool image has one status, and the slow rule agrees (C7)."""
    labels = _labeled(60)
    sides = data.draw(st.lists(st.sampled_from(["labeled", "test", "both"]), min_size=60, max_size=60))
    labeled = {i for i, side in zip(labels, sides, strict=True) if side != "test"}
    test = (
        {i for i, side in zip(labels, sides, strict=True) if side != "labeled"} if data.draw(st.booleans()) else set()
    )
    pool = set(data.draw(st.lists(st.sampled_from(_ids(90)), unique=True)))
    found = Found(CLASSES, {i: labels[i] for i in labeled | test}, labeled, pool, test)
    wanted = _want(labels=data.draw(st.sampled_from([3, 6, 9])), test=data.draw(st.integers(0, 9)), calib=3, gate=2)
    try:
        roles = draw(found, wanted, seed)
    except UserError:
        assume(False)
    counts = conserve(found, roles)
    assert counts["images"] == len(labeled | test | pool)
    given_away = [*roles.labeled, *roles.calib, *roles.gate, *roles.test]
    assert len(given_away) == len(set(given_away))
    in_pool = {i for i, status in roles.status.items() if status == "pool"}
    assert not in_pool & set(given_away)
    assert pool <= set(roles.status)
    assert set(roles.truth) == in_pool & set(found.label_of)
    assert (set(roles.test), set(roles.labeled)) == _slow(found, wanted, seed)
    for image_id, status in roles.status.items():
        learnt, away = image_id in roles.labeled, image_id in {*roles.test, *roles.calib, *roles.gate}
        assert status == ("duplicate" if learnt else "held_out" if away else "pool")


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), extra=st.integers(1, 30))
def test_the_rest_of_the_data_cannot_move_an_image(seed: int, extra: int) -> None:
    """New pool images change nobody's role."""
    found = _found(_labeled(60), pool=set(_ids(10, 100)))
    more = _found(_labeled(60), pool=set(_ids(10 + extra, 100)))
    before, after = (draw(f, _want(12, test=10, calib=6, gate=3), seed) for f in (found, more))
    assert (before.labeled, before.calib, before.gate, before.test) == (
        after.labeled,
        after.calib,
        after.gate,
        after.test,
    )


def test_another_seed_draws_another_split() -> None:
    """The seed matters, the order of the rows does not."""
    labels = _labeled(60)
    backwards = dict(reversed(labels.items()))
    first, same, other = (draw(_found(x), _want(12, test=9), s) for x, s in ((labels, 0), (backwards, 0), (labels, 1)))
    assert (first.labeled, first.test) == (same.labeled, same.test)
    assert first.labeled != other.labeled


def test_labels_are_equal_and_calib_is_proportional() -> None:
    """`labels` is the same number of each class; calib and gate mirror the classes' shares."""
    names = ["ant"] * 70 + ["bee"] * 20 + ["cow"] * 10
    roles = draw(_found(dict(zip(_ids(100), names, strict=True))), _want(9, calib=20, gate=10), 0)
    assert Counter(roles.labeled.values()) == {"ant": 3, "bee": 3, "cow": 3}
    assert Counter(roles.calib.values()) == {"ant": 14, "bee": 4, "cow": 2}
    assert Counter(roles.gate.values()) == {"ant": 7, "bee": 2, "cow": 1}


def test_all_labels_are_used_when_none_are_counted() -> None:
    """labels: null learns from everything that is not kept aside; the pool is the source's own."""
    roles = draw(_found(_labeled(30), pool=set(_ids(5, 100))), _want(None, test=6, calib=3, gate=3), 0)
    assert [len(r) for r in (roles.labeled, roles.calib, roles.gate, roles.test)] == [18, 3, 3, 6]
    assert Counter(roles.status.values()) == {"pool": 5}
    assert roles.truth == {}


def test_a_leak_is_taken_out_and_counted() -> None:
    """A labeled image that is in the test set too is tested with, not learnt from; in the pool it is held out."""
    labels = _labeled(30)
    leaked = set(_ids(4))
    found = _found(labels, pool=leaked | set(_ids(5, 100)), test=leaked)
    roles = draw(found, _want(None), 0)
    assert roles.leaks == 4
    assert not leaked & set(roles.labeled)
    assert {roles.status[image_id] for image_id in leaked} == {"held_out"}


@pytest.mark.parametrize(
    ("found", "wanted", "code", "message"),
    [
        (_found(_labeled(2), pool={"x"}), _want(), "empty_class", "class 'cow'"),
        (_found(_labeled(30)), _want(), "empty_pool", "no unlabeled image"),
        (_found(_labeled(30)), _want(30), "empty_pool", "no unlabeled image"),
        (_found(_labeled(30)), _want(31), "unequal_labels", "31 cannot be shared equally by 3 classes"),
        (_found(_labeled(31)), _want(33), "too_few_labels", "'bee': 10 labeled images, wanted 11 labeled"),
        (_found(_labeled(30)), _want(27, calib=6), "too_few_labels", "wanted 9 labeled + 2 calib"),
        (_found(_labeled(30), pool={"x"}), _want(None, gate=30), "too_few_labels", "wanted 1 labeled + 10 gate"),
        (_found(_labeled(30)), _want(3, test=30), "too_few_labels", "split.test: 30 images wanted"),
    ],
)
def test_what_cannot_be_drawn(found: Found, wanted: params.Split, code: str, message: str) -> None:
    """Each names the class, what is there, what was wanted, and a key of params.yaml or the missing images."""
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        draw(found, wanted, 0)
    assert caught.value.code == code
    assert "split." in caught.value.fix


def test_the_first_label_table_learns_from_nothing() -> None:
    """r0 has a row and a reason for every image of the pool, sorted, and copies 0."""
    table = unlabeled_table({"b": "held_out", "a": "pool", "c": "duplicate"})
    assert table.schema == files.LABEL_TABLE
    assert table["image_id"].to_pylist() == ["a", "b", "c"]
    assert table["reason"].to_pylist() == ["unlabeled", "held_out", "duplicate"]
    assert table["copies"].to_pylist() == [0, 0, 0]


def test_through_the_stages(tmp_path: Path) -> None:
    """A folder with a leak and a duplicate comes out with every image in its file, and what is sealed stays sealed."""
    workspace = Workspace(tmp_path)
    write_all(
        workspace.source,
        {f"labeled/{name}/{n}.png": picture(n + 10 * k) for k, name in enumerate(CLASSES) for n in range(4)},
    )
    write_all(workspace.source, {f"pool/{n}.png": picture(100 + n) for n in range(6)})
    write_all(workspace.source, {"pool/copy.png": picture(1), "pool/leak.png": picture(200)})
    write_all(workspace.source, {"test/ant/t.png": picture(200), "test/ant/too.png": picture(2)})
    assert [workspace.run(name)[0] for name in ("ingest", "fingerprint", "split")] == [0, 0, 0]
    summary = workspace.summary("split")
    assert {
        name: summary[name] for name in ("images", "labeled", "test", "pool", "held_out", "duplicate", "leaks")
    } == {
        "images": 19,
        "labeled": 11,
        "test": 2,
        "pool": 6,
        "held_out": 1,
        "duplicate": 1,
        "leaks": 1,
    }
    assert Counter(row["status"] for row in workspace.table("split/pool")) == {"pool": 6, "held_out": 1, "duplicate": 1}
    assert {row["label"] for row in workspace.table("sealed/test")} == {"ant"}
    assert workspace.table("sealed/truth") == []
    assert files.read_json(tmp_path / "data/split/classes.json") == CLASSES
    published = {p.name for p in (tmp_path / "data/split").iterdir()}
    assert not {"test.parquet", "truth.parquet"} & published


def test_hidden_truth_of_a_labeled_rest(tmp_path: Path) -> None:
    """What `labels` leaves over becomes pool; its labels are sealed and stand in no table of data/split."""
    workspace = Workspace(tmp_path, split={"labels": 6})
    write_all(
        workspace.source,
        {f"labeled/{name}/{n}.png": picture(n + 10 * k) for k, name in enumerate(CLASSES) for n in range(4)},
    )
    assert [workspace.run(name)[0] for name in ("ingest", "fingerprint", "split")] == [0, 0, 0]
    pool = {row["image_id"] for row in workspace.table("split/pool")}
    assert len(pool) == 6
    assert {row["image_id"]: row["label"] for row in workspace.table("sealed/truth")} == {
        image_id: label for image_id, label in workspace.labels().values() if image_id in pool
    }
    assert set(workspace.table("split/pool")[0]) == {"image_id", "status", "source", "group"}


def test_a_source_that_left_the_settings_is_moved_aside(tmp_path: Path) -> None:
    """Its artefacts are kept under .work/retired; what is there of the others comes out as if it had never been."""
    workspace = Workspace(tmp_path)
    write_all(
        workspace.source, {f"labeled/{c}/{n}.png": picture(n + 9 * k) for k, c in enumerate("ab") for n in (1, 2)}
    )
    write_all(workspace.source, {"pool/x.png": picture(99)})
    for name in ("ingest", "fingerprint", "split"):
        assert workspace.run(name)[0] == 0
    before = workspace.hashes()
    for kind in ("images", "catalog", "quarantine", "fingerprints"):
        shutil.copytree(tmp_path / "data" / kind / "own", tmp_path / "data" / kind / "former")
    code, said = workspace.run("split")
    assert (code, "the source 'former'" in said) == (0, True)
    assert workspace.hashes() == before
    assert {path.name for path in (tmp_path / ".work/retired/former").iterdir()} == {
        *("images", "catalog", "quarantine", "fingerprints")
    }
