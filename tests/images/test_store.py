"""Images by id: the right pixels in the right order, whatever the parts look like."""

import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import files, params
from tasks.errors import Integrity
from tasks.images import shards, store
from tasks.images.decode import decode
from tasks.images.shards import Shards
from tasks.images.store import Images
from tests.images.workspace import SUFFIX, picture

FORM = params.Image(size=8, channels=3, background=9)
CONTENT = {
    hashlib.sha256(content).hexdigest(): content
    for content in (picture(number, [*SUFFIX][number % 4], 8 + number % 5) for number in range(40))
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images in six parts."""
    path = tmp_path_factory.mktemp("images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "PART_ROWS", 7)
        writer = Shards(path)
        for image_id, content in CONTENT.items():
            writer.add(image_id, content)
        writer.close()
    assert len(list(path.glob("part-*.parquet"))) == 6
    return path


def _expected(ids: list[str]) -> torch.Tensor:
    return torch.stack([torch.tensor(decode(CONTENT[image_id], 8, 3, 9)) for image_id in ids])


@settings(max_examples=20, deadline=None)
@given(ids=st.lists(st.sampled_from(sorted(CONTENT)), min_size=1, max_size=60), block=st.integers(1, 9))
def test_load_is_by_id(folder: Path, ids: list[str], block: int) -> None:
    """`load` gives the pixels of every id at its place, in any order, repeated ids included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "BLOCK", block)
        assert torch.equal(Images(folder).load(ids, FORM), _expected(ids))


@settings(max_examples=20, deadline=None)
@given(
    ids=st.lists(st.sampled_from(sorted(CONTENT)), unique=True),
    size=st.integers(1, 50),
    block=st.integers(1, 9),
)
def test_batches_bring_each_image_once_with_its_id(folder: Path, ids: list[str], size: int, block: int) -> None:
    """All batches but the last are full, ids and pixels belong together, nothing is lost or doubled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "BLOCK", block)
        batches = list(Images(folder).batches(ids, FORM, size))
    assert [len(found) for found, _ in batches[:-1]] == [size] * (len(batches) - 1)
    assert sorted(image_id for found, _ in batches for image_id in found) == sorted(ids)
    assert all(torch.equal(pixel_NCHW, _expected(found)) for found, pixel_NCHW in batches)


def test_a_missing_image_is_named(folder: Path) -> None:
    """An id that is in no part is an integrity error with that id, not a shifted tensor."""
    with pytest.raises(Integrity, match="f" * 64):
        Images(folder).load([next(iter(CONTENT)), "f" * 64], FORM)


def test_no_image_is_no_error(folder: Path) -> None:
    """Nothing asked, nothing given, in the right shape."""
    assert Images(folder).load([], FORM).shape == (0, 3, 8, 8)
    assert list(Images(folder).batches([], FORM, 4)) == []


def test_parts_keep_their_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part closes before it exceeds its bytes; an image larger than a part has one of its own."""
    monkeypatch.setattr(shards, "PART_BYTES", 10)
    writer = Shards(tmp_path)
    for name, size in (("c", 4), ("a", 6), ("b", 1), ("d", 99), ("e", 1)):
        writer.add(name, b"x" * size)
    writer.close()
    assert [[*table["image_id"].to_pylist()] for table in files.iter_tables(tmp_path)] == [
        ["a", "c"],
        ["b"],
        ["d"],
        ["e"],
    ]
