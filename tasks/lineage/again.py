"""Asking the named teacher again: does it still say what is stored? N images, C classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks import files, params
from tasks.errors import UserError
from tasks.lineage.version import Version, parts, record, rounds

# Probabilities are float32, and a matrix product sums in another order when the batch, the number of threads, the
# processor or the library's kernels are others: the last bits differ. docs/trust.md has what was measured.
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Stored:
    """Some images of a round with their stored probabilities."""

    round: str
    ids: list[str]
    prob_NC: np.ndarray


def one(round_: str, image_id: str, prob_C: Sequence[float]) -> Stored:
    """A single image."""
    return Stored(round_, [image_id], np.array([prob_C], np.float32))


def draw(version: Version, count: int, seed: int, only: str | None = None) -> list[Stored]:
    """Stored predictions drawn at random, without return, from all rounds together (or one)."""
    wanted = [round_ for round_ in rounds(version) if only in {None, round_}]
    size_R = [sum(files.rows(path) for path in parts(version, files.probs(round_))) for round_ in wanted]
    if not sum(size_R):
        raise UserError("no_predictions", "no round has stored probabilities", "understudy run")
    chosen = np.random.default_rng(seed).choice(sum(size_R), min(count, sum(size_R)), replace=False)
    first, found = 0, []
    for round_, size in zip(wanted, size_R, strict=True):
        here = np.sort(chosen[(chosen >= first) & (chosen < first + size)]) - first
        first += size
        if len(here):
            table = pa.concat_tables(_taken(parts(version, files.probs(round_)), here))
            prob_NC = pc.list_flatten(table["prob"]).to_numpy().reshape(len(table), -1)
            found.append(Stored(round_, [str(i) for i in table["image_id"].to_pylist()], prob_NC))
    return found


def difference(version: Version, stored: Stored, teacher: Path) -> np.ndarray:
    """How far each image's probabilities, predicted now, are from the stored ones: the largest over classes, (N,).

    `teacher`: a folder with the weights and card of the net that the round's record names. Images are decoded anew, in
    the form the record names; no cache is used. Integrity when an image or a weight is damaged or missing.
    """
    from tasks.core.predict import predict
    from tasks.images.store import Images
    from tasks.models import load_model

    about: dict[str, Any] = record(version, files.probs(stored.round))["params"]
    net, _ = load_model(teacher)
    images = Images(files.IMAGES).load(stored.ids, params.Image.model_validate(about["image"]))
    again_NC = predict(net, images, about["label"]["batch"]).numpy()
    if again_NC.shape != stored.prob_NC.shape:
        return np.full(len(stored.ids), np.inf)
    apart_N: np.ndarray = np.abs(again_NC.astype(np.float64) - stored.prob_NC).max(axis=1)
    return np.where(np.isfinite(apart_N), apart_N, np.inf)


def _taken(paths: list[Path], row_N: np.ndarray) -> Iterator[pa.Table]:
    """Rows by their place in the tables one after the other."""
    first = 0
    for path in paths:
        size = files.rows(path)
        here = row_N[(row_N >= first) & (row_N < first + size)] - first
        first += size
        if len(here):
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                yield _rows(file, here)


def _rows(file: pq.ParquetFile, row_N: np.ndarray) -> pa.Table:
    start, found = 0, []
    for batch in file.iter_batches(1 << 14, columns=["image_id", "prob"]):
        here = row_N[(row_N >= start) & (row_N < start + batch.num_rows)] - start
        found.append(pa.Table.from_batches([batch]).take(pa.array(here)))
        start += batch.num_rows
    return pa.concat_tables(found)
