"""A small finished workspace of two rounds, made with the writers of the stages, and one mongod for all tests."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks import files
from tasks.params import Settings
from tasks.review import dataset
from tests.conftest import ROOT
from tests.review import made

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
    raw = yaml.load((ROOT / "params.yaml").read_text(), yaml.CSafeLoader)
    (tmp_path / "params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper))
    rng = np.random.default_rng(0)
    encoded = dict(sorted(made.png(_noise(rng, 12 + i % 3)) for i in range(POOL + 2)))
    known = dict(sorted(made.png(_noise(np.random.default_rng(i + 1), 12)) for i in range(KNOWN)))
    ids, held = list(encoded)[:POOL], list(encoded)[POOL:]
    made.images("digits", encoded | known, {image_id: f"pool/{i:03}.png" for i, image_id in enumerate(encoded)})
    given = [(image_id, CLASSES[i % len(CLASSES)]) for i, image_id in enumerate(known)]
    status = dict.fromkeys(ids, "pool") | dict.fromkeys(held, "held_out")
    made.split(CLASSES, status, dict(given[:6]), dict(given[6:]))
    for round_, teacher in TEACHERS.items():
        prob_NC = rng.dirichlet(np.full(len(CLASSES), 0.4), size=POOL).astype(np.float32)
        publish_round(round_, teacher, ids, held, prob_NC)
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
    made.probabilities(round_, teacher, ids, prob_NC)
    reason_N = np.where(prob_NC.max(axis=1) < 0.7, "low_confidence", "kept").astype(object)
    reason_N[np.flatnonzero(reason_N == "kept")[::4]] = "class_full"
    none = {"copies": 0, "round": round_, "source": "", "reason": "held_out"}
    table = made.accepted(round_, teacher, ids, CLASSES, prob_NC, reason_N)
    publish_labels(round_, pd.concat([table, pd.DataFrame({"image_id": held}).assign(**none)]))


publish_labels = made.labels


def read_labels(round_: str) -> pd.DataFrame:
    """The label table as a frame."""
    return files.read_table(files.labels(round_) / "labels.parquet").to_pandas()


def _noise(rng: np.random.Generator, side: int) -> np.ndarray:
    return rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
