"""Publishing and verified reading (contracts C1, C2): a flipped bit or a cut file is never silent."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import files
from tasks.errors import Integrity

TABLE = pa.table({"image_id": [f"{i:064x}" for i in range(200)], "confidence": pa.array(range(200), pa.float32())})


def _publish(folder: Path, table: pa.Table = TABLE) -> Path:
    staged, target = folder / "staged", folder / "data/labels"
    staged.mkdir(parents=True)
    files.write_table(table, staged / "labels.parquet")
    files.write_json({"n": table.num_rows}, staged / files.SUMMARY)
    files.seal(staged, {"stage": "curate@r1", "inputs": {}})
    files.move_into_place(staged, target)
    return target


def test_what_was_published_reads_back(tmp_path: Path) -> None:
    """A round trip keeps every value, and the record names the stage."""
    target = _publish(tmp_path)
    assert files.verify(target)["stage"] == "curate@r1"
    assert files.read_table(target / "labels.parquet").equals(TABLE)


def test_same_content_gives_the_same_record(tmp_path: Path) -> None:
    """No time, host or temporary name gets into an artefact."""
    assert files.manifest_hash(_publish(tmp_path / "a")) == files.manifest_hash(_publish(tmp_path / "b"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_flipped_bit_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """One bit anywhere in a table or its summary is reported with the file's name."""
    target = _publish(tmp_path_factory.mktemp("flip"))
    path = target / data.draw(st.sampled_from(["labels.parquet", files.SUMMARY]))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) * 8 - 1))
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)
    with pytest.raises(Integrity, match=path.name):
        files.verify(target)


@pytest.mark.parametrize("damage", ["cut", "gone", "extra", "no record", "cut record"])
def test_damage_is_named_with_its_mend(tmp_path: Path, damage: str) -> None:
    """Cut, missing and foreign files and damaged records are refused with the folder to restore."""
    target = _publish(tmp_path)
    path, record = target / "labels.parquet", target / files.MANIFEST
    {
        "cut": lambda: path.write_bytes(path.read_bytes()[:-7]),
        "gone": path.unlink,
        "extra": lambda: (target / "new.txt").write_text("?"),
        "no record": record.unlink,
        "cut record": lambda: record.write_text(record.read_text()[:50]),
    }[damage]()
    with pytest.raises(Integrity) as caught:
        files.verify(target)
    assert str(target) in str(caught.value)
    assert "dvc repro" in caught.value.fix
    assert caught.value.exit_code == 5


def test_a_page_altered_after_verification_does_not_read(tmp_path: Path) -> None:
    """Page checksums guard the time between verification and reading."""
    path = _publish(tmp_path) / "labels.parquet"
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    with pytest.raises(Integrity, match=r"labels\.parquet"):
        files.read_table(path)


def test_a_kill_leaves_the_old_or_the_new_artefact(tmp_path: Path) -> None:
    """60 SIGKILLs at random moments while an artefact is replaced: what stands there always verifies."""
    target = _publish(tmp_path)
    rng = random.Random(0)
    for _ in range(60):
        child = os.fork()
        while child == 0:
            shutil.rmtree(tmp_path / "staged", ignore_errors=True)
            _publish(tmp_path, TABLE.slice(0, rng.randrange(1, 200)))
        time.sleep(rng.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        # Between the two renames of a replacement the old one stands beside its name, whole.
        files.verify(target if target.exists() else tmp_path / "staged.old")
