"""A finished workspace of handwritten digits with wrong labels in it, without training: what a review has to mend."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from tasks import decisions, files
from tests.conftest import ROOT

CLASSES = [str(digit) for digit in range(10)]


def make(folder: Path, images: int, wrong: int, port: int) -> dict[str, str]:
    """data/ of one round below the current folder, the truth of every image by its id. Of all images the `wrong` least
    confident ones are labeled one digit too high."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["review"]["port"] = port
    raw["rounds"] = {"r1": raw["rounds"]["r1"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    pixels, target = load_digits(return_X_y=True)
    encoded = [_png(row) for row in pixels[:images]]
    truth = dict(sorted(zip((i for i, _ in encoded), map(str, target[:images]), strict=True)))
    ids = list(truth)
    assert len(ids) == images, "two digits with the same pixels"
    _publish(
        files.images("digits"),
        "ingest@digits",
        **{"part-00000": pa.table({"image_id": [i for i, _ in encoded], "bytes": [b for _, b in encoded]})},
    )
    _publish(
        files.catalog("digits"),
        "ingest@digits",
        images=pa.table({"image_id": ids, "path": [f"pool/{n:04}.png" for n in range(len(ids))]}),
    )
    none = pa.table({"image_id": pa.array([], pa.string()), "label": pa.array([], pa.string())})
    _publish(
        files.SPLIT,
        "split",
        classes=CLASSES,
        labeled=none,
        calib=none,
        pool=pa.table({"image_id": ids, "status": ["pool"] * len(ids)}),
    )
    confidence_N = np.linspace(0.55, 0.99, len(ids), dtype=np.float32)
    label_N = np.array([(int(truth[i]) + (n < wrong)) % 10 for n, i in enumerate(ids)])
    prob_NC = np.repeat((1 - confidence_N)[:, None] / 9, 10, axis=1).astype(np.float32)
    prob_NC[np.arange(len(ids)), label_N] = confidence_N
    flat = pa.FixedSizeListArray.from_arrays(pa.array(prob_NC.ravel()), 10)
    _publish(files.probs("r1"), "label@r1", **{"part-00000": pa.table({"image_id": ids, "prob": flat})})
    rows = {
        "image_id": ids,
        "label": [CLASSES[n] for n in label_N],
        "confidence": confidence_N,
        "copies": 1,
        "round": "r1",
    }
    table = pd.DataFrame(rows | {"source": "teacher:r0", "reason": "kept", "soft": None, "weight": 1.0})
    made_from = {files.probs("r1").as_posix(): files.manifest_hash(files.probs("r1"))}
    labels = pa.Table.from_pandas(table, schema=files.LABEL_TABLE, preserve_index=False)
    _publish(files.labels("r1"), "curate@r1", made_from, labels=labels)
    files.replace_file(files.decisions("r1"), ",".join(decisions.HEADER) + "\n")
    return truth


def _publish(target: Path, stage: str, inputs: dict[str, str] | None = None, **content: pa.Table | list[str]) -> None:
    staged = files.WORK / "staged"
    staged.mkdir(parents=True)
    for name, value in content.items():
        if isinstance(value, pa.Table):
            files.write_table(value, staged / f"{name}.parquet")
        else:
            files.write_json(value, staged / f"{name}.json")
    files.seal(staged, {"stage": stage, "inputs": inputs or {}})
    files.move_into_place(staged, target)


def _png(row: np.ndarray) -> tuple[str, bytes]:
    stream = io.BytesIO()
    Image.fromarray((255 - row.reshape(8, 8) * 15.9).astype(np.uint8)).save(stream, "PNG")
    return hashlib.sha256(stream.getvalue()).hexdigest(), stream.getvalue()
