"""Stage `label@rK`: what the teacher of round K believes about every pool image.

The teacher is clean: eval mode, no dropout, no stochastic depth, no augmentation (Noisy Student, section 2). All
probabilities are kept, so that temperature, threshold, balance and soft or hard labels change without another pass.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from torch import nn

from tasks import files
from tasks.core.predict import predict
from tasks.errors import UserError
from tasks.images.store import Images
from tasks.models import load_model
from tasks.progress import Progress
from tasks.stage import Stage

PARAMS = ("image", "label", "rounds.{key}.teacher")
PART_ROWS = 1_000_000


def label(stage: Stage, round_: str) -> None:
    """Pool images and a teacher in, data/probs/rK out."""
    images = Images(stage.inputs(files.IMAGES), stage.settings.cache)
    stage.input(files.SPLIT)
    net, card = load_model(stage.input(files.model(stage.settings.rounds[round_].teacher)))
    _refuse_other_form(stage, round_, card)
    pool = files.read_table(files.SPLIT / "pool.parquet").to_pandas()
    ids = list(pool.loc[pool["status"] == "pool", "image_id"])
    chunks = _predict_in_chunks(stage, images, net, ids)
    table = pa.concat_tables(files.read_table(path) for path in chunks).sort_by("image_id")
    if table["image_id"].to_pylist() != ids:
        raise AssertionError(f"{len(ids)} pool images, {table.num_rows} predictions")
    out = stage.output(files.probs(round_))
    for index, start in enumerate(range(0, len(ids), PART_ROWS)):
        files.write_table(table.slice(start, PART_ROWS), out / f"part-{index:05d}.parquet")
    stage.summary(images=len(ids))


def _refuse_other_form(stage: Stage, round_: str, card: dict[str, object]) -> None:
    wanted = stage.settings.image.model_dump() | {"classes": files.read_json(files.SPLIT / "classes.json")}
    for name, value in wanted.items():
        if name in card and card[name] != value:
            what = f"the teacher of {round_} was trained with {name} = {card[name]}, the settings now say {value}"
            raise UserError("other_teacher", what, "run `dvc repro`: the teacher is trained again")


def _predict_in_chunks(stage: Stage, images: Images, net: nn.Module, ids: list[str]) -> list[Path]:
    """One table of predictions per chunk; chunks that a killed run committed are not computed again."""
    settings, folder = stage.settings, stage.resume()
    done = {name for path in _chunks(folder) for name in files.read_table(path, ["image_id"])["image_id"].to_pylist()}
    if done:
        print(f"{stage.name}: {len(done)} of {len(ids)} images were labeled before the interruption", flush=True)
    todo = [image_id for image_id in ids if image_id not in done]
    first = len(_chunks(folder))
    with Progress(len(ids), stage.name, "images", len(done)) as progress:
        for index, (chunk_ids, image_NCHW) in enumerate(
            images.batches(todo, settings.image, settings.label.chunk), start=first
        ):
            prob_NC = predict(net, image_NCHW, settings.label.batch).numpy()
            _refuse_bad_rows(chunk_ids, prob_NC)
            path = folder / f"chunk-{index:06d}.parquet"
            files.write_table(_table(chunk_ids, prob_NC), path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
            progress.advance(len(chunk_ids))
    return _chunks(folder)


def _chunks(folder: Path) -> list[Path]:
    return sorted(folder.glob("chunk-*.parquet"))


def _table(ids: list[str], prob_NC: np.ndarray) -> pa.Table:
    prob = pa.FixedSizeListArray.from_arrays(pa.array(prob_NC.ravel(), pa.float32()), prob_NC.shape[1])
    return pa.table({"image_id": pa.array(ids, pa.string()), "prob": prob})


def _refuse_bad_rows(ids: list[str], prob_NC: np.ndarray) -> None:
    bad_N = ~np.isfinite(prob_NC).all(axis=1) | (np.abs(prob_NC.sum(axis=1) - 1) > 1e-3)
    if bad_N.any():
        raise AssertionError(f"probabilities of image {ids[int(bad_N.argmax())]} are not a distribution")
