"""What a net says about labeled images it did not learn from: held.parquet and calibration.json beside its weights.

The images are those of `split.calib`; without any, the labeled images, each asked about by a net that learnt from the
others (cross-fitting, `calibrate.folds`). Rows are sorted by image_id; probabilities are as the net gave them.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.core.calibration import Calibration, fit, measure
from tasks.core.metrics import Floats

HELD, CALIBRATION = "held.parquet", "calibration.json"
CALIB = -1  # the fold of images of the calib split: no net of any fold learnt from them
DIGITS = 6
SCHEMA = pa.schema(
    [  # type: ignore[arg-type]  # the stubs do not know fields of different types in one list
        pa.field("image_id", pa.string()),
        pa.field("label", pa.string()),  # the class it was given
        pa.field("fold", pa.int32()),
        pa.field("prob", pa.list_(pa.float32())),
    ]
)


def table(ids: list[str], labels: list[str], fold: Iterable[int], prob_NC: Floats) -> pa.Table:
    """The rows of held.parquet, sorted by image_id."""
    prob = pa.ListArray.from_arrays(
        pa.array(np.arange(len(ids) + 1) * prob_NC.shape[1], pa.int32()), pa.array(prob_NC.ravel(), pa.float32())
    )
    columns: list[Any] = [pa.array(ids, pa.string()), pa.array(labels, pa.string()), pa.array(fold, pa.int32()), prob]
    return pa.table(columns, schema=SCHEMA).sort_by("image_id")


def folds_of(ids: list[str], labels: list[str], folds: int, seed: int) -> np.ndarray:
    """The fold of each image (N,): every class is dealt out evenly, in the order of sha256(seed:image_id)."""
    of_class = defaultdict[str, list[int]](list)
    for row, label in enumerate(labels):
        of_class[label].append(row)
    fold_N, dealt = np.empty(len(ids), np.int32), 0
    for label in sorted(of_class):
        rows = sorted(of_class[label], key=lambda row: hashlib.sha256(f"{seed}:{ids[row]}".encode()).hexdigest())
        fold_N[rows] = (np.arange(len(rows)) + dealt) % folds
        dealt += len(rows)  # or the first folds would get the odd image of every class
    return fold_N


def write(folder: Path, rows: pa.Table, classes: list[str], seed: int) -> None:
    """held.parquet and calibration.json, which says by how much to correct the net and how well calibrated it is."""
    prob_NC, truth_N = arrays(rows, classes)
    found, measured = fit(prob_NC, truth_N)["per_class"], measure(prob_NC, truth_N, seed)
    origin = "none" if not rows.num_rows else "calib" if pc.min(rows["fold"]).as_py() == CALIB else "cross-fit"
    report = {
        "from": origin,
        "n": rows.num_rows,
        "temperature": round(found.temperature, DIGITS),
        "per_class": [round(float(bias), DIGITS) for bias in found.bias_C],
        "ece": {
            variant: {name: round(row[name], DIGITS) for name in ("ece", "low", "high", "nll")}
            for variant, row in measured.items()
        },
        "reliability": {
            variant: [[round(confidence, DIGITS), round(hit, DIGITS), n] for confidence, hit, n in row["reliability"]]
            for variant, row in measured.items()
        },
    }
    files.write_table(rows, folder / HELD)
    files.write_json(report, folder / CALIBRATION)


def read(folder: Path, classes: list[str]) -> tuple[Floats, np.ndarray]:
    """Probabilities (N, C) and class indices (N,) of held.parquet in a net's verified artefact."""
    return arrays(files.read_table(folder / HELD), classes)


def calibration(folder: Path, variant: str, classes: int) -> Calibration:
    """The variant `none`, `temperature` or `per_class` that a net's artefact names."""
    if variant == "none":
        return Calibration.none(classes)
    found = files.read_json(folder / CALIBRATION)
    bias_C = np.array(found["per_class"]) if variant == "per_class" else np.zeros(classes)
    return Calibration(found["temperature"], bias_C)


def arrays(rows: pa.Table, classes: list[str]) -> tuple[Floats, np.ndarray]:
    """Probabilities (N, C) and class indices (N,)."""
    flat = pc.list_flatten(rows["prob"]).to_numpy()
    truth_N = pc.index_in(rows["label"], value_set=pa.array(classes, pa.string())).to_numpy()
    return flat.reshape(-1, len(classes)), truth_N.astype(np.int64)
