"""What is held out never reaches a net: found before it learns, without opening what is sealed."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks import copies, drift, files, held, labeled
from tasks.errors import Integrity
from tests import fabricated

CLASSES = ["ant", "bee"]
IDS = [f"{i:064x}" for i in range(20)]
TRAIN, CALIB, GATE, TEST, POOL = IDS[:4], IDS[4:6], IDS[6:8], IDS[8:12], IDS[12:]
ROLES = {"test": TEST[0], "gate": GATE[0], "calib": CALIB[0]}
NOT = (None, 0.5, "low_confidence")
Copies = list[tuple[str, str, str]]  # an image, the held-out one it is a copy of, and that one's role


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _split(near: Copies, train: list[str] = TRAIN, pool: list[str] = POOL, beside: list[str] | None = None) -> None:
    """A split in which these images train and are the pool, whatever else they are; what is sealed is gone.

    `beside` stand in the table of the pool as held out.
    """
    status = dict.fromkeys(pool, "pool") | dict.fromkeys(beside or [], "held_out")
    named = {role: dict.fromkeys(ids, "ant") for role, ids in (("calib", CALIB), ("gate", GATE), ("test", TEST))}
    fabricated.split(CLASSES, train=dict.fromkeys(train, "ant"), pool=status, **named)
    shutil.rmtree(files.SEALED)
    rows = [(image, min(image, match), match, role, "near", 0.1) for image, match, role in near]
    columns = [pa.array([row[n] for row in rows], field.type) for n, field in enumerate(copies.LISTED)]
    table = pa.Table.from_arrays(columns, schema=copies.LISTED)
    folder = files.SPLIT
    (folder / files.MANIFEST).unlink()
    files.write_table(table, folder / "duplicates.parquet")
    files.seal(folder, {"stage": "made"})


def _labeled() -> None:
    """What the teacher would learn from."""
    part = pa.table({"image_id": IDS, "bytes": pa.array([b""] * len(IDS), pa.binary())})
    fabricated.publish(files.images("digits"), **{"part-00000": part})
    fabricated.run(labeled.labeled, labeled.PARAMS, fabricated.settings())


def _drift(learnt: list[str], pool: list[str], beside: list[str] | None = None) -> None:
    """What the student of r1 would learn from."""
    prob = pa.array([[0.9, 0.1]] * len(pool), pa.list_(pa.float32(), 2))
    fabricated.publish(files.probs("r1"), **{"part-00000": pa.table({"image_id": pool, "prob": prob})})
    rows: dict[str, tuple[str | None, float, str]] = dict.fromkeys([*pool, *(beside or [])], NOT)
    fabricated.label_table("r1", rows | dict.fromkeys(learnt, ("ant", 0.9, "kept")))
    given = held.table([], [], [], np.empty((0, 2), np.float32))
    fabricated.publish(files.champion("r0"), weights__safetensors=b"", card={"key": "r0"}, held=given)
    fabricated.publish(files.catalog("digits"), labels=pa.table({"origin": pa.array(["labeled"])}))
    fabricated.run(drift.drift, drift.PARAMS, fabricated.settings(), "r1")


def test_an_honest_split_passes_both_checks() -> None:
    """Copies of pool images among themselves, and of labeled images, are no leak."""
    _split([(POOL[1], POOL[0], "pool"), (POOL[3], TRAIN[0], "labeled")])
    _labeled()
    _drift(POOL[:5], POOL)
    assert files.read_json(files.drift("r1") / "cleared.json")["labels"] == files.manifest_hash(files.labels("r1"))


@pytest.mark.parametrize("role", ROLES)
def test_a_teacher_gets_no_held_out_image(role: str) -> None:
    """A labeled image that is also test, gate or calib is named by its id, before data/labeled is there."""
    _split([], train=[*TRAIN, ROLES[role]])
    with pytest.raises(Integrity, match=ROLES[role]) as error:
        _labeled()
    assert (error.value.code, error.value.exit_code) == (f"leaked_{role}", 5)
    assert not files.LABELED.exists()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("is_learnt", [True, False])
def test_no_student_learns_while_a_held_out_image_is_in_the_pool(role: str, is_learnt: bool) -> None:
    """Whether its label was taken or not: drift@r1 names it, and clears no label table."""
    pool = sorted([*POOL, ROLES[role]])
    _split([], pool=pool)
    with pytest.raises(Integrity, match=ROLES[role]) as error:
        _drift([ROLES[role]] * is_learnt, pool)
    assert (error.value.code, error.value.exit_code) == (f"leaked_{role}", 5)
    assert not files.drift("r1").exists()


@pytest.mark.parametrize("role", ROLES)
def test_nor_from_a_near_copy_of_a_held_out_image(role: str) -> None:
    """Neither teacher nor student, and neither a copy of one nor the copy of a copy."""
    _split([(POOL[2], ROLES[role], role)])
    with pytest.raises(Integrity, match=POOL[2]) as error:
        _drift([], POOL)
    assert error.value.code == "leaked_held_out"
    _split([(TRAIN[1], ROLES[role], role)])
    with pytest.raises(Integrity, match=TRAIN[1]):
        _labeled()


def test_a_label_table_that_teaches_what_the_split_took_out_is_refused() -> None:
    """A test image lies in the pool's folder and the split says so; a table that counts it as learnt is no table."""
    _split([], beside=[TEST[1]])
    _drift([], POOL, beside=[TEST[1]])
    with pytest.raises(Integrity, match=f"in {files.labels('r1')}: {TEST[1]}") as error:
        _drift([TEST[1]], POOL, beside=[TEST[1]])
    assert error.value.code == "leaked_test"
