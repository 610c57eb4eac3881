"""The decoded cache changes time and nothing else, whatever happens to its files."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import files, params
from tasks.images import cache, shards, store
from tasks.images.cache import Cache, Part
from tasks.images.decode import decode
from tasks.images.shards import Shards
from tasks.images.store import Images
from tests.conftest import ROOT
from tests.images.workspace import SUFFIX, picture

FORM, ON = params.Image(size=8, channels=3, background=9), params.Cache(max_gb=1.0)
CONTENT = {
    hashlib.sha256(content).hexdigest(): content
    for content in (picture(number, [*SUFFIX][number % 4], 8 + number % 5) for number in range(30))
}
IDS = sorted(CONTENT)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty images in three committed parts of two sources; the first part's images lie in both."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shards, "PART_ROWS", 12)
    for source, ids in (("one", IDS[:20]), ("two", IDS[:5] + IDS[20:])):
        _publish(source, ids)
    return files.IMAGES


def _publish(source: str, ids: list[str]) -> None:
    staged = Path("staged")
    staged.mkdir()
    writer = Shards(staged)
    for image_id in ids:
        writer.add(image_id, CONTENT[image_id])
    writer.close()
    files.seal(staged, {"stage": f"ingest@{source}"})
    files.move_into_place(staged, files.images(source))


def _expected(ids: list[str], form: params.Image = FORM) -> torch.Tensor:
    return torch.stack([torch.tensor(decode(CONTENT[i], form.size, form.channels, form.background)) for i in ids])


def _parts() -> list[Path]:
    return sorted(cache.HOME.rglob("*.u8"))


def _refuse_to_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an image was decoded that the cache holds")

    monkeypatch.setattr(store, "_decode_all", refuse)


@pytest.mark.parametrize("idle", [True, False])
def test_a_hit_is_what_decoding_gives(folder: Path, monkeypatch: pytest.MonkeyPatch, idle: bool) -> None:
    """After one pass nothing is decoded any more, and the pixels are those `decode` gives, whoever asks and how."""
    monkeypatch.setattr(store, "has_idle_cores", lambda: idle)
    assert torch.equal(Images(folder, ON).load(IDS, FORM), _expected(IDS))
    _refuse_to_decode(monkeypatch)
    mixed = [IDS[7], IDS[29], IDS[7], IDS[0]]
    assert torch.equal(Images(folder, ON).load(mixed, FORM), _expected(mixed))
    found = list(Images(folder, ON).batches(IDS, FORM, 7))
    assert sorted(i for ids, _ in found for i in ids) == IDS
    assert all(torch.equal(pixel_NCHW, _expected(ids)) for ids, pixel_NCHW in found)


@settings(max_examples=15, deadline=None)
@given(first=st.sets(st.integers(0, 11)), second=st.sets(st.integers(0, 11)), block=st.integers(1, 12))
def test_a_part_holds_exactly_the_rows_written(
    tmp_path_factory: pytest.TempPathFactory, first: set[int], second: set[int], block: int
) -> None:
    """Rows written in any two portions are good afterwards, in another process's eyes too; all others are absent."""
    path = tmp_path_factory.mktemp("part") / "x.u8"
    pixel_NCHW = np.random.default_rng(block).integers(0, 256, (12, 3, 4, 4), np.uint8)
    for rows in (first, second):
        row_R = np.array(sorted(rows), np.int64)
        if len(row_R):
            Part(path, 12, (3, 4, 4)).write(row_R, pixel_NCHW[row_R])
    for start in range(0, 12, block):
        row_R = np.arange(start, min(start + block, 12))
        found_RCHW, is_good_R = Part(path, 12, (3, 4, 4)).read(row_R)
        assert is_good_R.tolist() == [row in first | second for row in row_R.tolist()]
        assert np.array_equal(found_RCHW[is_good_R], pixel_NCHW[row_R[is_good_R]])


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["pixel", "crc", "truncated", "longer", "empty", "swapped", "zeroed"])
def test_damage_is_noticed_and_made_again(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happened to the files, the pixels are right, and the next pass finds a whole cache."""
    Images(folder, ON).load(IDS, FORM)
    for path in _parts():
        content = path.read_bytes()
        row = 3 * 8 * 8
        damaged = {
            "truncated": content[:-7],
            "longer": content + b"x",
            "empty": b"",
            "swapped": content[row : 2 * row] + content[:row] + content[2 * row :],
            "zeroed": bytes(row) + content[row:],
        }
        if kind in damaged:
            path.write_bytes(damaged[kind])
        else:
            _flip(path, 5 if kind == "pixel" else len(content) - 4 * (len(content) // (row + 4)))
    capsys.readouterr()
    assert torch.equal(Images(folder, ON).load(IDS, FORM), _expected(IDS))
    assert "decoded again" in capsys.readouterr().out
    _refuse_to_decode(monkeypatch)
    assert torch.equal(Images(folder, ON).load(IDS, FORM), _expected(IDS))


def test_other_settings_do_not_mix_and_leave(folder: Path) -> None:
    """Another size or background is another form; what the old settings made is dropped."""
    Images(folder, ON).load(IDS, FORM)
    old = _parts()
    for change in ({"background": 200}, {"size": 12}, {"channels": 1}):
        form = FORM.model_copy(update=change)
        assert torch.equal(Images(folder, ON).load(IDS, form), _expected(IDS, form))
        assert not set(old) & set(_parts())


def test_other_code_is_another_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new decoder's pixels never come out of an old cache."""
    before = cache.form_of(FORM)
    monkeypatch.setattr(cache, "version", lambda name: "0.0.1")
    assert cache.form_of(FORM) != before


def test_a_part_that_is_gone_leaves_the_cache(folder: Path) -> None:
    """A source packed anew drops what was decoded of its old parts and keeps the other source's."""
    Images(folder, ON).load(IDS, FORM)
    before = set(_parts())
    _publish("two", IDS[14:])
    assert torch.equal(Images(folder, ON).load(IDS, FORM), _expected(IDS))
    assert len(before & set(_parts())) == 2


def test_reading_one_artefact_keeps_what_is_decoded_of_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that reads a single source, or a copy of some images, does not cost the others their cache."""
    Images(folder, ON).load(IDS, FORM)
    Images(files.images("two"), ON).load(IDS[:3], FORM)
    _refuse_to_decode(monkeypatch)
    assert torch.equal(Images(folder, ON).load(IDS, FORM), _expected(IDS))


def test_off_means_no_files(folder: Path) -> None:
    """With 0 GB, and for images without a commit record, nothing is written and the pixels are the same."""
    assert torch.equal(Images(folder, params.Cache(max_gb=0)).load(IDS, FORM), _expected(IDS))
    (files.images("one") / files.MANIFEST).unlink()
    (files.images("two") / files.MANIFEST).unlink()
    assert torch.equal(Images(folder, ON).load(IDS, FORM), _expected(IDS))
    assert not cache.HOME.exists()


def test_the_limit_drops_the_longest_unused_first(tmp_path: Path) -> None:
    """Parts of earlier processes go, the oldest first, and only as many as needed; a part in use never goes."""
    rows, image = 1000, params.Image(size=32, channels=3, background=0)
    pixel_NCHW = np.ones((rows, 3, 32, 32), np.uint8)
    everything = np.arange(rows)
    limit = 2 * (pixel_NCHW.nbytes + 100_000)
    for age, key in ((300, "a"), (200, "b")):
        early = Cache(image, limit, tmp_path)
        part = early.part(key, rows)
        assert part is not None
        early.write(part, everything, pixel_NCHW)
        path = next(tmp_path.glob(f"*/{key}.u8"))
        os.utime(path, (time.time() - age, time.time() - age))
    now = Cache(image, limit, tmp_path)
    for key, held in (("c", {"b", "c"}), ("d", {"c", "d"}), ("e", {"c", "d"})):
        part = now.part(key, rows)
        assert part is not None
        now.write(part, everything, pixel_NCHW)
        full = {path.stem for path in tmp_path.glob("*/*.u8") if path.stat().st_blocks * 512 >= pixel_NCHW.nbytes}
        assert full == held
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.glob("*/*")) <= limit


def test_a_full_disk_stops_the_cache_and_not_the_stage(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing can be written the images are decoded, and one line says why."""
    cache.HOME.parent.mkdir()
    cache.HOME.write_text("a file where the folder should be")
    assert torch.equal(Images(folder, ON).load(IDS, FORM), _expected(IDS))
    assert capsys.readouterr().out.count("not kept") == 1


WRITER = """
import sys, numpy as np
from pathlib import Path
from tasks.images.cache import Part
pixel = np.random.default_rng(0).integers(0, 256, (4000, 3, 32, 32), np.uint8)
print("ready", flush=True)
while True:
    part = Part(Path(sys.argv[1]), 4000, (3, 32, 32))
    for start in range(0, 4000, 50):
        part.write(np.arange(start, start + 50), pixel[start:start + 50])
    Path(sys.argv[1]).unlink()
"""


def test_a_kill_while_writing_leaves_only_right_rows(tmp_path: Path) -> None:
    """kill -9 at any moment: each row is what was meant or counts as absent, and the file can be completed."""
    pixel_NCHW = np.random.default_rng(0).integers(0, 256, (4000, 3, 32, 32), np.uint8)
    path, everything = tmp_path / "x.u8", np.arange(4000)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ}
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(0.13)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    part = Part(path, 4000, (3, 32, 32))
    found_NCHW, is_good_N = part.read(everything)
    assert np.array_equal(found_NCHW[is_good_N], pixel_NCHW[is_good_N])
    lacking = np.flatnonzero(~is_good_N)
    if len(lacking):
        part.write(lacking, pixel_NCHW[lacking])
    found_NCHW, is_good_N = Part(path, 4000, (3, 32, 32)).read(everything)
    assert is_good_N.all()
    assert np.array_equal(found_NCHW, pixel_NCHW)
