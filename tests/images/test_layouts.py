"""Layouts of a folder source, several sources together, and data sets of torchvision's from local files."""

import bz2
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import UserError
from tasks.images import folder, torchvision_sets
from tasks.images.decode import decode
from tasks.images.record import Refusal
from tasks.images.sources import refuse_missing
from tasks.params import load
from tests.images.workspace import Workspace, picture, write_all


def _read(root: Path, layout: folder.Layout) -> list[tuple[str, str | None, str | None, bool]]:
    source = folder.read(root, layout)
    records = list(source.records)
    assert source.total == len(records)
    return [(r.path, r.origin, r.label, isinstance(r.content, Refusal)) for r in records]


def test_layouts(tmp_path: Path) -> None:
    """Each layout gives origin and class by its own rule; what has no place is refused, not guessed."""
    write_all(tmp_path, dict.fromkeys(["a/cat/x/1.png", "a/dog/2.png", "a/3.png"], b"x"))
    assert _read(tmp_path / "a", "classes") == [
        ("3.png", "labeled", None, True),
        ("cat/x/1.png", "labeled", "cat", False),
        ("dog/2.png", "labeled", "dog", False),
    ]
    assert [row[1:] for row in _read(tmp_path / "a", "pool")] == [("pool", None, False)] * 3
    write_all(tmp_path, dict.fromkeys(["b/train/cat/1.png", "b/val/cat/2.png", "b/unlabeled/3/4.png"], b"x"))
    assert _read(tmp_path / "b", "split") == [
        ("train/cat/1.png", "labeled", "cat", False),
        ("unlabeled/3/4.png", "pool", None, False),
        ("val/cat/2.png", "test", "cat", False),
    ]
    write_all(tmp_path, {"c/pool/1.png": b"x"})
    assert _read(tmp_path / "c", "understudy") == [("pool/1.png", "pool", None, False)]


@pytest.mark.parametrize(
    ("names", "layout", "wanted"),
    [
        (["train/cat/1.png", "test/cat/2.png"], "understudy", "set own: split"),
        (["train/cat/1.png", "test/cat/2.png"], "classes", "set own: split"),
        (["labeled/cat/1.png", "pool/2.png"], "classes", "set own: understudy"),
        (["labeled/cat/1.png"], "pool", "set own: understudy"),
        (["labeled/cat/1.png"], "split", "set own: understudy"),
        (["cat/1.png", "dog/1.png"], "understudy", "set own in params.yaml: classes if"),
        (["1.png"], "understudy", "set own: pool"),
        (["1.png"], "classes", "expected <class>/<image>"),
        (["train/cat/1.png", "val/cat/1.png", "test/cat/1.png"], "split", "one of them can be the test set"),
    ],
)
def test_another_layout_is_named(tmp_path: Path, names: list[str], layout: folder.Layout, wanted: str) -> None:
    """A folder of another layout is refused with the line to put into params.yaml."""
    write_all(tmp_path, dict.fromkeys(names, b"x"))
    with pytest.raises(UserError) as caught:
        folder.read(tmp_path, layout, "own")
    assert wanted in str(caught.value)


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c.png", "d d"]), min_size=1, max_size=4), max_size=8))
def test_the_walk_finds_what_os_walk_finds(tmp_path_factory: pytest.TempPathFactory, names: list[list[str]]) -> None:
    """Whatever the tree: every file once, and in an order that does not depend on the file system."""
    root = tmp_path_factory.mktemp("walk")
    for parts in names:
        path = root.joinpath(*parts[:-1], f"{parts[-1]}.x")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    found = [record.path for record in folder.read(root, "pool").records]
    wanted = []
    for at, folders, files in os.walk(root):
        folders.sort()
        wanted += [os.path.relpath(os.path.join(at, name), root) for name in sorted(files)]
    assert found == wanted


def _sources(workspace: Workspace, sources: dict[str, dict[str, Any]]) -> None:
    path = workspace.folder / "params.yaml"
    settings = yaml.load(path.read_text(), yaml.CSafeLoader)
    path.write_text(yaml.dump({**settings, "sources": sources}, Dumper=yaml.CSafeDumper))


def test_labels_may_come_from_another_source(tmp_path: Path) -> None:
    """A source of pool alone is fine beside one with labels, and alone it is the split that refuses."""
    workspace = Workspace(tmp_path, source={"layout": "pool"})
    write_all(workspace.source, {f"x/{n}.png": picture(n) for n in range(3)})
    assert workspace.run("ingest")[0] == 0
    assert workspace.run("fingerprint")[0] == 0
    code, said = workspace.run("split")
    assert (code, "no source brings a usable labeled image (sources: own)" in said) == (2, True), said
    write_all(
        tmp_path, {f"more/{label}/{n}.png": picture(n + 10 * len(label)) for label in ("a", "bb") for n in (1, 2)}
    )
    one = {"kind": "folder", "path": "source", "layout": "pool"}
    _sources(workspace, {"pond": one, "own": {"kind": "folder", "path": "more", "layout": "classes"}})
    for name in ("ingest", "fingerprint"):
        assert [workspace.run(name, source)[0] for source in ("pond", "own")] == [0, 0]
    assert workspace.run("split")[0] == 0
    assert {row["source"] for row in workspace.table("split/pool")} == {"pond"}


def test_missing_sources_are_named_together(tmp_path: Path) -> None:
    """Every path that is not there, and for a set that can be downloaded the folder to make."""
    workspace = Workspace(tmp_path)
    gone = {"kind": "torchvision", "name": "MNIST", "path": "not/here"}
    _sources(workspace, {"photos": {"kind": "manifest", "path": "none.csv"}, "digits": gone})
    with workspace.inside(), pytest.raises(UserError) as caught:
        refuse_missing(load().sources)
    assert "sources.photos.path: none.csv does not exist" in str(caught.value)
    assert "`mkdir -p not/here` to download MNIST" in str(caught.value)


def _idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes())


def _mnist(root: Path, pixel_NHW: np.ndarray, label_N: np.ndarray) -> None:
    for part, rows in (("train", slice(0, 8)), ("t10k", slice(8, None))):
        _idx(root / f"MNIST/raw/{part}-images-idx3-ubyte", pixel_NHW[rows])
        _idx(root / f"MNIST/raw/{part}-labels-idx1-ubyte", label_N[rows].astype(np.uint8))


def test_mnist_from_files_that_are_there(tmp_path: Path) -> None:
    """Files in MNIST's format go through ingest: train labeled, test sealed, pixels equal, twice the same bytes."""
    workspace = Workspace(tmp_path, source={"kind": "torchvision", "name": "MNIST", "path": "source"})
    pixel_NHW = np.random.default_rng(0).integers(0, 256, (12, 28, 28), np.uint8)
    _mnist(workspace.source, pixel_NHW, np.arange(12) % 10)
    assert workspace.run("ingest")[0] == 0
    summary = workspace.summary("ingest")
    assert summary["origin"] == {"labeled": 8, "test": 4}
    labels = {path: label for path, (_, label) in workspace.labels().items()}
    assert (labels["train/000003.png"], labels["test/000001.png"]) == ("3 - three", "9 - nine")
    for record, wanted_HW in zip(torchvision_sets.read(workspace.source, "MNIST").records, pixel_NHW, strict=True):
        assert isinstance(record.content, bytes)
        np.testing.assert_array_equal(decode(record.content, 28, 1, 255)[0], wanted_HW)
    first = workspace.hashes()
    workspace.clear()
    assert workspace.run("ingest")[0] == 0
    assert workspace.hashes() == first


def test_usps_digits_have_names(tmp_path: Path) -> None:
    """A set whose classes torchvision does not name is labeled by the digits."""
    for name, label in (("usps.bz2", 1), ("usps.t.bz2", 10)):
        row = " ".join(f"{n}:{-1 + n / 128}" for n in range(1, 257))
        (tmp_path / name).write_bytes(bz2.compress(f"{label} {row}\n".encode()))
    found = [(r.path, r.origin, r.label) for r in torchvision_sets.read(tmp_path, "USPS").records]
    assert found == [("train/000000.png", "labeled", "0"), ("test/000000.png", "test", "9")]


def test_a_forged_pickle_is_never_loaded(tmp_path: Path) -> None:
    """CIFAR's files are unpickled only with torchvision's own md5: a hostile one is refused and does nothing."""
    canary = tmp_path / "canary"
    hostile = b"cos\nmkdir\n(V" + str(canary).encode() + b"\ntR."
    write_all(tmp_path / "root", dict.fromkeys(torchvision_sets.SETS["CIFAR10"].files, hostile))
    with pytest.raises(UserError, match=r"CIFAR10 under .*, part train: Dataset not found or corrupted"):
        torchvision_sets.read(tmp_path / "root", "CIFAR10")
    assert not canary.exists()


def test_offline_says_what_is_missing_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network: exit 2 with each missing file's place; nothing is published."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    workspace = Workspace(tmp_path, source={"kind": "torchvision", "name": "STL10", "path": "source"})
    workspace.source.mkdir()
    code, said = workspace.run("ingest")
    assert code == 2, said
    assert "STL10 is not complete and cannot be downloaded" in said
    assert "source/stl10_binary/unlabeled_X.bin" in said
    assert not (tmp_path / "data/images").exists()
