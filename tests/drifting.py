"""Rounds for the drift stage: fabricated outputs of a net that knows its classes, and what the stage finds in them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from tasks import drift, files
from tasks.params import load
from tests import fabricated

CLASSES = ["ant", "bee", "cow"]
Prob = dict[str, np.ndarray]
FOREIGN = 0.8  # how sure a net is of images that are not what it learnt from; of its own it is 3.5


def ids(first: int, count: int) -> list[str]:
    """Image ids, one after the other."""
    return [f"{i:064x}" for i in range(first, first + count)]


def outputs(images: list[str], seed: int, sure: float = 3.5, share: Any = None) -> Prob:
    """Outputs of images of all classes, or of the classes' `share`; foreign images are less `sure`."""
    rng = np.random.default_rng(seed)
    label_N = rng.choice(len(CLASSES), len(images), p=share)
    logit_NC = rng.normal(0, 0.6, (len(images), len(CLASSES)))
    logit_NC[np.arange(len(images)), label_N] += rng.normal(sure, 0.8, len(images))
    prob_NC = np.exp(logit_NC)
    return dict(zip(images, (prob_NC / prob_NC.sum(axis=1, keepdims=True)).astype(np.float32), strict=True))


HELD = outputs(ids(90_000, 300), 1)
POOL = outputs(ids(0, 600), 2)


def write(prob: Prob, source_of: dict[str, str] | None = None, held: Prob | None = None, fold: int = -1) -> None:
    """The artefacts of a round whose labels are the best classes; all above 0.6 are accepted."""
    for folder in (files.SPLIT, files.SEALED, files.probs("r1"), files.labels("r1"), files.champion("r0")):
        shutil.rmtree(folder, ignore_errors=True)
    names = sorted(prob)
    fabricated.split(CLASSES, train={}, pool=dict.fromkeys(names, "pool"), test={}, source_of=source_of)
    column = pa.array([prob[i] for i in names], pa.list_(pa.float32(), len(CLASSES)))
    fabricated.publish(files.probs("r1"), **{"part-00000": pa.table({"image_id": names, "prob": column})})
    rows = {
        i: (CLASSES[p.argmax()], float(p.max()), "kept" if p.max() > 0.6 else "low_confidence") for i, p in prob.items()
    }
    fabricated.label_table("r1", rows)
    for name in {*(source_of or {}).values(), "digits"}:
        origin = pa.array(["labeled"] if name == "digits" else [], pa.string())
        shutil.rmtree(files.catalog(name), ignore_errors=True)
        fabricated.publish(files.catalog(name), labels=pa.table({"origin": origin}))
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    raw["sources"] |= dict.fromkeys((source_of or {}).values(), raw["sources"]["digits"])
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    given = held or {}
    columns = {
        "image_id": pa.array(sorted(given), pa.string()),
        "label": pa.array(["ant"] * len(given), pa.string()),
        "fold": pa.array([fold] * len(given), pa.int32()),
        "prob": pa.array([given[i] for i in sorted(given)], pa.list_(pa.float32())),
    }
    fabricated.publish(files.champion("r0"), weights__safetensors=b"w", card={"key": "r0"}, held=pa.table(columns))


def run_drift(**change: Any) -> dict[str, Any]:
    """Run the stage; what it found."""
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    raw["drift"] |= change
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    fabricated.run(drift.drift, drift.PARAMS, load(), "r1")
    return dict(files.read_json(files.drift("r1") / "drift.json"))


def history() -> list[dict[str, Any]]:
    """The runs that are remembered."""
    return list(files.read_json(files.drift("r1") / "history.json"))


def content() -> dict[str, str]:
    """The hash of each file of the artefact."""
    return {p.name: files.sha256_file(p) for p in files.drift("r1").iterdir()}
