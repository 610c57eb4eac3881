"""A small finished workspace of two rounds, made with the writers of the stages, and one mongod for all tests."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from PIL import Image

from tasks import decisions, files
from tasks.params import Settings
from tasks.review import dataset
from tests.conftest import ROOT

CLASSES = ["cat", "dog", "frog", "an owl"]
POOL = 48
KNOWN = 8  # labeled images
TEACHERS = {"r1": "r0", "r2": "r1"}


@dataclass(frozen=True)
class Workspace:
    """The folder, its settings and the ids of the pool in order."""

    folder: Path
    settings: Settings
    ids: list[str]


@pytest.fixture(scope="session")
def fo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """FiftyOne with a real mongod, its database in a temporary folder."""
    from tasks.review import database

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("database"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from inside fiftyone's own imports
            connected = database.connect()
        yield connected


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A finished pipeline of two rounds: 48 images, 4 classes, some refused, some held out."""
    monkeypatch.chdir(tmp_path)
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    rng = np.random.default_rng(0)
    images = sorted(_png(rng, 12 + i % 3) for i in range(POOL + 2))
    ids, held = [i for i, _ in images[:POOL]], [i for i, _ in images[POOL:]]
    known = dict(_png(np.random.default_rng(i + 1), 12) for i in range(KNOWN))
    encoded = dict(images) | known
    part = pa.table({"image_id": list(encoded), "bytes": list(encoded.values())})
    _publish(files.images("digits"), "ingest@digits", {"part-00000.parquet": part})
    catalog = pa.table({"image_id": ids + held, "path": [f"pool/{i:03}.png" for i in range(POOL + 2)]})
    _publish(files.catalog("digits"), "ingest@digits", {"images.parquet": catalog})
    status = ["pool"] * POOL + ["held_out"] * 2
    given = pa.table({"image_id": sorted(known), "label": [CLASSES[i % len(CLASSES)] for i in range(KNOWN)]})
    files_of_split = {"pool.parquet": pa.table({"image_id": ids + held, "status": status}), "classes.json": CLASSES}
    files_of_split |= {"labeled.parquet": given.slice(0, 6), "calib.parquet": given.slice(6)}
    _publish(files.SPLIT, "split", files_of_split)
    for round_, teacher in TEACHERS.items():
        prob_NC = rng.dirichlet(np.full(len(CLASSES), 0.4), size=POOL).astype(np.float32)
        publish_round(round_, teacher, ids, held, prob_NC)
        decisions_file = files.decisions(round_)
        files.replace_file(decisions_file, ",".join(decisions.HEADER) + "\n")
    return Workspace(tmp_path, Settings.model_validate(raw), ids)


@pytest.fixture
def review(fo: Any, workspace: Workspace) -> Iterator[Workspace]:
    """The workspace with the database at hand; its data sets are gone afterwards."""
    yield workspace
    for round_ in TEACHERS:
        if fo.dataset_exists(dataset.name_of(round_)):
            fo.delete_dataset(dataset.name_of(round_))


def publish_round(round_: str, teacher: str, ids: list[str], held: list[str], prob_NC: np.ndarray) -> None:
    """Probabilities and the label table made of them: kept from 0.7 on, every fourth of these too many."""
    flat = pa.FixedSizeListArray.from_arrays(pa.array(prob_NC.ravel()), len(CLASSES))
    content = {"part-00000.parquet": pa.table({"image_id": ids, "prob": flat}), "summary.json": {"teacher": teacher}}
    _publish(files.probs(round_), f"label@{round_}", content)
    confidence_N = prob_NC.max(axis=1)
    reason_N = np.where(confidence_N < 0.7, "low_confidence", "kept").astype(object)
    reason_N[np.flatnonzero(reason_N == "kept")[::4]] = "class_full"
    table = pd.DataFrame(
        {
            "image_id": ids + held,
            "label": [*np.array(CLASSES, dtype=object)[prob_NC.argmax(axis=1)], *[None] * len(held)],
            "confidence": [*confidence_N, *[None] * len(held)],
            "copies": [*(reason_N == "kept").astype(int), *[0] * len(held)],
            "round": round_,
            "source": [*[f"teacher:{teacher}"] * len(ids), *[""] * len(held)],
            "reason": [*reason_N, *["held_out"] * len(held)],
        }
    )
    publish_labels(round_, table.assign(soft=None, weight=1.0))


def publish_labels(round_: str, table: pd.DataFrame) -> None:
    """A label table that says which probabilities it was made from, as `curate` does."""
    made_from = {files.probs(round_).as_posix(): files.manifest_hash(files.probs(round_))}
    rows = pa.Table.from_pandas(table, schema=files.LABEL_TABLE, preserve_index=False)
    _publish(files.labels(round_), f"curate@{round_}", {"labels.parquet": rows}, made_from)


def read_labels(round_: str) -> pd.DataFrame:
    """The label table as a frame."""
    return files.read_table(files.labels(round_) / "labels.parquet").to_pandas()


def _publish(target: Path, stage: str, content: dict[str, Any], inputs: dict[str, str] | None = None) -> None:
    staged = files.WORK / "staged"
    staged.mkdir(parents=True)
    for name, value in content.items():
        if isinstance(value, pa.Table):
            files.write_table(value, staged / name)
        else:
            files.write_json(value, staged / name)
    files.seal(staged, {"stage": stage, "inputs": inputs or {}})
    files.move_into_place(staged, target)


def _png(rng: np.random.Generator, side: int) -> tuple[str, bytes]:
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(stream, "PNG")
    return hashlib.sha256(stream.getvalue()).hexdigest(), stream.getvalue()
