"""Small finished artefacts, made up in a temporary folder: what the stages before `evaluate` and `report` leave."""

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from PIL import Image

from tasks import copies, files, held
from tasks.params import Settings, load
from tasks.stage import Stage
from tests.conftest import ROOT


def settings(**report: Any) -> Settings:
    """The project's own settings, for images of 8 x 8, in the current folder's params.yaml."""
    raw = yaml.load((ROOT / "params.yaml").read_text(), yaml.CSafeLoader)
    raw["image"] |= {"size": 8, "channels": 1}
    raw["report"] |= report
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    return load()


def run(body: Callable[..., None], params: Sequence[str], chosen: Settings, key: str = "") -> None:
    """A stage from its first input to its publication, in this process."""
    name = body.__name__ + (f"@{key}" if key else "")
    stage = Stage(name, chosen, [p.format(key=key) for p in params])
    stage.home.mkdir(parents=True, exist_ok=True)
    body(stage, key) if key else body(stage)
    stage.publish()


def publish(target: Path, **contents: pa.Table | dict[str, Any] | list[Any] | str | bytes) -> None:
    """An artefact with a valid commit record. `name__csv` is the file name.csv; the value's type decides the rest."""
    staged = files.WORK / "made"
    staged.mkdir(parents=True)
    for name, value in contents.items():
        path = staged / name.replace("__", ".")
        if isinstance(value, pa.Table):
            files.write_table(value, path.with_suffix(".parquet"))
        elif isinstance(value, str):
            path.write_text(value)
        elif isinstance(value, bytes):
            path.write_bytes(value)
        else:
            files.write_json(value, path.with_suffix(".json"))
    files.seal(staged, {"stage": "made"})
    files.move_into_place(staged, target)


def images(n: int, seed: int = 0) -> list[str]:
    """data/images with n pictures of noise; their ids, sorted."""
    generator = np.random.default_rng(seed)
    content: dict[str, bytes] = {}
    for _ in range(n):
        stream = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (8, 8), dtype=np.uint8)).save(stream, "PNG")
        content[hashlib.sha256(stream.getvalue()).hexdigest()] = stream.getvalue()
    ids = sorted(content)
    table = pa.table({"image_id": ids, "bytes": pa.array([content[i] for i in ids], pa.binary())})
    publish(files.images("digits"), **{"part-00000": table})
    return ids


def labeled(label_of: dict[str, str]) -> pa.Table:
    """image_id, label."""
    ids = sorted(label_of)
    return pa.table(
        {"image_id": pa.array(ids, pa.string()), "label": pa.array([label_of[i] for i in ids], pa.string())}
    )


def split(
    classes: list[str],
    *,
    train: dict[str, str],
    pool: dict[str, str],
    test: dict[str, str],
    calib: dict[str, str] | None = None,
    gate: dict[str, str] | None = None,
    truth: dict[str, str] | None = None,
    source_of: dict[str, str] | None = None,
) -> None:
    """data/split and data/sealed; `pool` is image_id to status, `source_of` to source, `digits` where none is given."""
    ids = sorted(pool)
    columns = {"status": [pool[i] for i in ids], "source": [(source_of or {}).get(i, "digits") for i in ids]}
    status = pa.table(
        {"image_id": pa.array(ids, pa.string())} | {n: pa.array(v, pa.string()) for n, v in columns.items()}
    )
    publish(
        files.SPLIT,
        classes=classes,
        labeled=labeled(train),
        calib=labeled(calib or {}),
        gate=labeled(gate or {}),
        pool=status,
        duplicates=copies.LISTED.empty_table(),
        summary={"leaks": 0},
    )
    publish(files.GATE, classes=classes, gate=labeled(gate or {}))
    publish(files.TEST_IDS, test=pa.table({"image_id": pa.array(sorted(test), pa.string())}))
    publish(files.SEALED, test=labeled(test), truth=labeled(truth or {}))


def answers(
    key: str, classes: list[str], prob: dict[str, Sequence[float]], given: dict[str, str], fold: int = -1
) -> None:
    """data/champions/KEY without weights: what that net says of labeled images that it did not learn from."""
    ids = sorted(prob)
    prob_NC = np.array([prob[i] for i in ids], np.float32).reshape(-1, len(classes))
    rows = held.table(ids, [given[i] for i in ids], [fold] * len(ids), prob_NC)
    staged = files.WORK / "answers"
    staged.mkdir(parents=True)
    held.write(staged, rows, classes, seed=0)
    files.write_json({"key": key, "classes": classes}, staged / "card.json")
    files.seal(staged, {"stage": "made"})
    files.move_into_place(staged, files.champion(key))


def label_table(
    round_: str, rows: dict[str, tuple[str | None, float, str]], weight: Sequence[float] | None = None
) -> None:
    """data/labels/rK from image_id to label, confidence and reason; `weight` of the classes as it read the teacher."""
    ids = sorted(rows)
    columns: dict[str, list[Any]] = {name: [None] * len(ids) for name in files.LABEL_TABLE.names}
    columns |= {
        "image_id": ids,
        "label": [rows[i][0] for i in ids],
        "confidence": [rows[i][1] for i in ids],
        "copies": [int(rows[i][2] in {"kept", "human_label"}) for i in ids],
        "round": [round_] * len(ids),
        "source": ["human" if rows[i][2].startswith("human") else "teacher:r0" for i in ids],
        "reason": [rows[i][2] for i in ids],
    }
    reading = {"temperature": 1.0, "weight": weight}
    publish(files.labels(round_), labels=pa.table(columns, schema=files.LABEL_TABLE), reading=reading)
