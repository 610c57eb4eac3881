"""A finished workspace of handwritten digits with wrong labels in it, without training: what a review has to mend."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from tasks import files
from tasks.params import Settings
from tasks.review import features
from tests.conftest import ROOT
from tests.review import made

CLASSES = [str(digit) for digit in range(10)]


def make(
    folder: Path, images: int, wrong: int, port: int, classes: Sequence[str] = CLASSES, kept: float = 0.0
) -> dict[str, str]:
    """data/ of one round below the current folder, the truth of every image by its id. Of all images the `wrong` least
    confident ones are labeled one digit too high; those below the confidence `kept` are not learnt from. `classes`:
    ten other names, in the order of the digits."""
    raw = yaml.load((ROOT / "params.yaml").read_text(), yaml.CSafeLoader)
    raw["review"]["port"] = port
    raw["rounds"] = {"r1": raw["rounds"]["r1"]}
    (folder / "params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    pixels, target = load_digits(return_X_y=True)
    encoded = [made.png((255 - row.reshape(8, 8) * 15.9).astype(np.uint8)) for row in pixels[:images]]
    truth = dict(sorted(zip((i for i, _ in encoded), (classes[digit] for digit in target[:images]), strict=True)))
    ids = list(truth)
    assert len(ids) == images, "two digits with the same pixels"
    made.images("digits", dict(encoded), {image_id: f"pool/{n:04}.png" for n, image_id in enumerate(ids)})
    made.split(classes, dict.fromkeys(ids, "pool"), {}, {})
    confidence_N = np.linspace(0.55, 0.99, len(ids), dtype=np.float32)
    label_N = np.array([(classes.index(truth[i]) + (n < wrong)) % 10 for n, i in enumerate(ids)])
    prob_NC = np.repeat((1 - confidence_N)[:, None] / 9, 10, axis=1).astype(np.float32)
    prob_NC[np.arange(len(ids)), label_N] = confidence_N
    made.probabilities("r1", "r0", ids, prob_NC)
    reason_N = np.where(confidence_N >= kept, "kept", "low_confidence").tolist()
    made.labels("r1", made.accepted("r1", "r0", ids, classes, prob_NC, reason_N))
    return truth


def see(settings: Settings) -> None:
    """The net of the round, and what it sees in every image: the pixels. It is never asked."""
    staged = files.WORK / "staged"
    staged.mkdir(parents=True)
    for name in files.NET:
        (staged / name).write_text("{}")
    files.seal(staged, {"stage": "made"})
    files.move_into_place(staged, files.champion("r0"))
    store = features._store(files.champion("r0"), settings)
    images = files.read_table(files.images("digits") / "part-00000.parquet").sort_by("image_id").to_pydict()
    pixel_ND = np.stack([np.asarray(Image.open(io.BytesIO(b)), np.float32).ravel() for b in images["bytes"]])
    seen = pa.FixedSizeListArray.from_arrays(pa.array(pixel_ND.ravel()), pixel_ND.shape[1])
    files.write_table(pa.table({"image_id": images["image_id"], "feature": seen}), store / "chunk-000000.parquet")
