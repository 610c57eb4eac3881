"""A finished workspace as a review reads it, made up without training: any images, any classes, any probabilities.

Everything lies in the current folder. Tests and benchmarks/review_size.py make theirs of these parts.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from tasks import decisions, files

PART = 20_000  # images of one part


def images(source: str, encoded: Mapping[str, bytes], path_of: Mapping[str, str]) -> None:
    """data/images and data/catalog of a source; `path_of` the images that its catalog lists."""
    ids, parts = sorted(encoded), {}
    for index, start in enumerate(range(0, len(ids), PART)):
        some = ids[start : start + PART]
        column = pa.array([encoded[image_id] for image_id in some], pa.binary())
        parts[f"part-{index:05d}"] = pa.table({"image_id": some, "bytes": column})
    publish(files.images(source), **parts)
    table = pa.table({"image_id": list(path_of), "path": list(path_of.values())})
    publish(files.catalog(source), images=table)


def split(
    classes: Sequence[str], status: Mapping[str, str], labeled: Mapping[str, str], calib: Mapping[str, str]
) -> None:
    """data/split; `status` of the images of the pool."""
    given = {"labeled": labeled, "calib": calib}
    tables = {name: _strings(image_id=list(of), label=list(of.values())) for name, of in given.items()}
    pool = _strings(image_id=list(status), status=list(status.values()))
    publish(files.SPLIT, classes=list(classes), pool=pool, **tables)


def probabilities(round_: str, teacher: str, ids: Sequence[str], prob_NC: np.ndarray) -> None:
    """data/probs of a round, and its ledger without a row."""
    flat = pa.FixedSizeListArray.from_arrays(pa.array(prob_NC.ravel()), prob_NC.shape[1])
    table = pa.table({"image_id": pa.array(ids, pa.string()), "prob": flat})
    publish(files.probs(round_), **{"part-00000": table}, summary={"teacher": teacher})
    files.replace_file(files.decisions(round_), ",".join(decisions.HEADER) + "\n")


def accepted(
    round_: str, teacher: str, ids: Sequence[str], classes: Sequence[str], prob_NC: np.ndarray, reason_N: Sequence[str]
) -> pd.DataFrame:
    """The label table that goes with probabilities: their best class, learnt from where the reason is `kept`."""
    names, reason = np.array(classes, dtype=object), np.array(reason_N, dtype=object)
    columns = {"image_id": ids, "label": names[prob_NC.argmax(axis=1)], "confidence": prob_NC.max(axis=1)}
    columns |= {"copies": (reason == "kept").astype(int), "round": round_, "source": f"teacher:{teacher}"}
    return pd.DataFrame(columns | {"reason": reason, "soft": None})


def labels(round_: str, table: pd.DataFrame) -> None:
    """A label table that says which probabilities it was made from, as `curate` does."""
    rows = pa.Table.from_pandas(table, schema=files.LABEL_TABLE, preserve_index=False)
    publish(files.labels(round_), files.probs(round_), labels=rows)


def net(key: str, classes: Sequence[str], channels: int, **spec: Any) -> None:
    """data/champions/KEY: an untrained net, which sees something all the same."""
    import torch

    from tasks.models import build_from, save_model

    card = {"width": 1, "dropout": 0.0, "stochastic_depth": 0.0} | spec
    card |= {"channels": channels, "classes": list(classes), "key": key}
    torch.manual_seed(int(key[1:]))
    staged = files.WORK / "net"
    staged.mkdir(parents=True)
    save_model(staged, build_from(card), card)
    files.seal(staged, {"stage": "made"})
    files.move_into_place(staged, files.champion(key))


def publish(
    target: Path,
    made_from: Path | None = None,
    /,
    **contents: pa.Table | list[str] | dict[str, str],
) -> None:
    """An artefact with its commit record: tables as NAME.parquet, all else as NAME.json."""
    staged = files.WORK / "staged"
    staged.mkdir(parents=True)
    for name, value in contents.items():
        if isinstance(value, pa.Table):
            files.write_table(value, staged / f"{name}.parquet")
        else:
            files.write_json(value, staged / f"{name}.json")
    inputs = {made_from.as_posix(): files.manifest_hash(made_from)} if made_from else {}
    files.seal(staged, {"stage": "made", "inputs": inputs})
    files.move_into_place(staged, target)


def png(pixels: np.ndarray) -> tuple[str, bytes]:
    """The id and the bytes of a picture."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return hashlib.sha256(stream.getvalue()).hexdigest(), stream.getvalue()


def _strings(**columns: list[str]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
