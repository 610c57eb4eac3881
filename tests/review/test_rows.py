"""Which images are shown, what a browser gets to see of them, and where the database lies."""

import hashlib
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks import files
from tasks.errors import Integrity, UserError
from tasks.review import database, pictures, rows
from tests.review.conftest import CLASSES, POOL, Workspace, publish_round


def _rows(seed: int, count: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "image_id": [f"{i:03}" for i in range(count)],
            "shown": rng.choice(["cat", "dog", "frog"], count),
            "entropy": rng.random(count),
            "confidence": rng.random(count),
            "reason": rng.choice(["kept", "low_confidence", "class_full"], count),
            "disagrees": rng.random(count) < 0.2,
            "decision": np.where(rng.random(count) < 0.05, "reject", ""),
        }
    )


@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(1, 80))
@settings(max_examples=30, deadline=None)
def test_a_limit_cuts_every_queue_from_its_end(seed: int, count: int, limit: int) -> None:
    """The shown part of each queue is its beginning plus, at most, images that another queue brought in."""
    full = _rows(seed, count)
    chosen = rows.choose(full, limit)
    assert len(chosen) == min(limit, count)
    assert chosen["image_id"].is_monotonic_increasing
    ids = set(chosen["image_id"])
    decided = full[full["decision"] != ""]["image_id"]
    assert ids >= set(decided) or ids <= set(decided)
    fair = max(0, limit - len(decided)) // (3 + full["shown"].nunique())
    for queue in (
        full[full["reason"] == "kept"].sort_values("confidence"),
        full[full["reason"] != "kept"].sort_values("confidence", ascending=False),
        full[full["disagrees"]].sort_values("confidence", ascending=False),
        *(of.sort_values("entropy", ascending=False) for _, of in full.groupby("shown")),
    ):
        assert ids >= set(queue["image_id"][:fair])


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with nothing in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "mode", "side", "shown_as"),
    [
        ("PNG", "L", 8, ".jpg"),
        ("PNG", "RGBA", 8, ".png"),
        ("JPEG", "CMYK", 30, ".jpg"),
        ("JPEG", "RGB", 80, ".jpg"),
        ("WEBP", "RGB", 80, ".webp"),
        ("BMP", "RGB", 80, ".bmp"),
        ("TIFF", "RGB", 80, ".png"),
    ],
)
def test_pictures_are_what_a_browser_shows(empty: Path, kind: str, mode: str, side: int, shown_as: str) -> None:
    """Large ones keep their bytes under the right extension; small ones become JPEG, foreign formats PNG."""
    stream = io.BytesIO()
    Image.new(mode, (side, side + 1)).save(stream, kind)
    image_id = _publish(stream.getvalue())
    [(_, picture)] = pictures.write([image_id], empty / "shown")
    assert picture.path == empty / f"shown/{image_id}{shown_as}"
    assert (picture.path.read_bytes() == stream.getvalue()) == (side >= pictures.LEGIBLE and kind != "TIFF")
    assert picture.size == picture.path.stat().st_size
    with Image.open(picture.path) as shown:
        assert shown.size == (picture.width, picture.height)
        assert min(shown.size) == (side if side >= pictures.LEGIBLE else -(-pictures.ENLARGED // side) * side)
        assert Image.MIME[str(shown.format)] == picture.mime


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_enlarging_keeps_the_picture(empty: Path, kind: str, mode: str) -> None:
    """Made small again, the enlarged picture is the one that came, its colours in their places."""
    wave = 128 + 60 * np.sin(np.arange(8)[:, None] / 2 + np.arange(8))
    small = Image.merge("RGB", [Image.fromarray((wave + at).astype(np.uint8)) for at in (-40, 0, 40)]).convert(mode)
    stream = io.BytesIO()
    small.save(stream, kind, **({"quality": 100, "subsampling": 0} if kind == "JPEG" else {}))
    [(_, picture)] = pictures.write([_publish(stream.getvalue())], empty / "shown")
    with Image.open(picture.path) as shown:
        assert (shown.mode, picture.channels) == (mode, len(mode))
        again = np.asarray(shown.resize((8, 8), Image.Resampling.BOX), dtype=float)
    np.testing.assert_allclose(again, np.asarray(small, dtype=float), atol=12)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_strip_stays_a_strip(empty: Path, kind: str) -> None:
    """A side of 2 pixels beside one of 5,000 is not enlarged to a quarter of a million, which no format can hold."""
    stream = io.BytesIO()
    Image.new("RGB", (2, 5000)).save(stream, kind)
    [(_, picture)] = pictures.write([_publish(stream.getvalue())], empty / "shown")
    with Image.open(picture.path) as shown:
        assert shown.size == (picture.width, picture.height) == (2, 5000)


def test_a_picture_is_made_once(empty: Path) -> None:
    """What an earlier review wrote is used again without its image; one that is cut off is made again."""
    ids = [_publish(_colored(color), str(color)) for color in (0, 100, 200)]
    shown = empty / "shown"
    first = dict(pictures.write(ids, shown))
    assert pictures.count(shown) == 3
    torn = first[ids[1]].path
    whole = torn.read_bytes()
    torn.write_bytes(whole[:-1])
    before = {image_id: picture.path.stat().st_mtime_ns for image_id, picture in first.items()}
    shutil.rmtree(files.images("0"))
    assert dict(pictures.write(ids, shown)) == first
    assert torn.read_bytes() == whole
    assert [first[i].path.stat().st_mtime_ns == before[i] for i in ids] == [True, False, True]
    with pytest.raises(Integrity, match="the first is"):
        list(pictures.write(ids, empty / "elsewhere"))


def test_a_photo_held_upright_is_described_upright(empty: Path) -> None:
    """Browsers obey the camera's orientation, so width and height must too."""
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (100, 70)).save(stream, "JPEG", exif=exif)
    [(_, picture)] = pictures.write([_publish(stream.getvalue())], empty / "shown")
    assert (picture.width, picture.height) == (70, 100)


def test_unwanted_pictures_go_and_lost_ones_are_named(empty: Path) -> None:
    """The folder holds exactly the pictures of this review; an id without an image is an integrity error."""
    image_id = _publish(_colored(0))
    shown = empty / "shown"
    shown.mkdir()
    (shown / "old.png").write_bytes(b"")
    list(pictures.write([image_id], shown))
    assert [path.stem for path in shown.iterdir()] == [image_id]
    with pytest.raises(Integrity, match="the first is 000"):
        list(pictures.write([image_id, "000"], shown))


def test_a_missing_mongod_comes_with_two_ways_out(tmp_path: Path) -> None:
    """Without mongod the message names the wheel and the address of an own server."""
    with pytest.raises(UserError, match="does not exist") as caught:
        database.check_mongod(tmp_path / "mongod")
    assert "requirements-mongod.lock" in caught.value.fix
    assert "FIFTYONE_DATABASE_URI" in caught.value.fix
    (tmp_path / "mongod").touch(mode=0o644)
    with pytest.raises(UserError, match="cannot be executed"):
        database.check_mongod(tmp_path / "mongod")
    assert os.access(database.mongod(), os.X_OK)


def test_a_student_that_was_held_has_no_opinion_on_the_pool(workspace: Workspace) -> None:
    """Once r2 is labeled by r1 its probabilities are the student's of r1; labeled by r0 again, nobody asked r1."""
    shown = rows.load("r1", workspace.settings).rows
    assert shown["student"].notna().all()
    assert shown["disagrees"].any()
    prob_NC = np.random.default_rng(7).dirichlet(np.full(len(CLASSES), 0.4), size=POOL).astype(np.float32)
    publish_round("r2", "r0", workspace.ids, [], prob_NC)
    shown = rows.load("r1", workspace.settings).rows
    assert shown["student"].isna().all()
    assert shown["student_prob"].isna().all()
    assert not shown["disagrees"].any()


def test_two_projects_on_one_server_do_not_share_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an own mongod the name carries the project; a name given from outside stands."""
    monkeypatch.delenv("FIFTYONE_DATABASE_NAME", raising=False)
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://127.0.0.1:1")
    names = {database._environment(Path(p))["FIFTYONE_DATABASE_NAME"] for p in ("/a", "/b")}
    assert len(names) == 2
    monkeypatch.setenv("FIFTYONE_DATABASE_NAME", "mine")
    assert database._environment(Path("/a"))["FIFTYONE_DATABASE_NAME"] == "mine"


def _colored(color: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (80, 80), color).save(stream, "PNG")
    return stream.getvalue()


def _publish(data: bytes, source: str = "own") -> str:
    image_id = hashlib.sha256(data).hexdigest()
    files.images(source).mkdir(parents=True)
    files.write_table(pa.table({"image_id": [image_id], "bytes": [data]}), files.images(source) / "part-00000.parquet")
    return image_id


def test_an_image_of_two_sources_is_one_picture(empty: Path) -> None:
    """FiftyOne refuses a second sample of the same image_id, and with it the whole review."""
    image_id = _publish(_colored(0))
    shutil.copytree(files.images("own"), files.images("other"))
    assert [i for i, _ in pictures.write([image_id], empty / "shown")] == [image_id]
