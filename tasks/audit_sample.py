"""Which labels a blind audit is about, which of them it draws, and which known images it plants among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.core import audit

compute: Any = pc  # its stubs know neither these overloads nor what they return


@dataclass(frozen=True, slots=True)
class Sample:
    """The draws of an audit, M of them; an image drawn twice stands twice. H strata of `size_H` accepted labels."""

    image_id_M: list[str]
    label_M: list[str]
    stratum_M: np.ndarray
    size_H: np.ndarray
    class_H: list[str]  # empty text where all classes are one stratum


def table_hash(round_: str) -> str:
    """The identity of a round's label table: the sha256 of its bytes, as its commit record has it."""
    record = files.read_json(files.labels(round_) / files.MANIFEST)
    sha256: str = record["files"]["labels.parquet"]["sha256"]
    return sha256


def accepted(labels: pa.Table) -> pa.Table:
    """image_id, label and confidence of the labels a student learns from and no person gave: what an audit is about."""
    kept = compute.and_(compute.greater(labels["copies"], 0), compute.not_equal(labels["source"], "human"))
    return labels.select(["image_id", "label", "confidence"]).filter(kept).combine_chunks()


def draw(labels: Any, n: int, seed: Sequence[str | int]) -> Sample:
    """The sample of min(n, all) draws from `accepted` labels. The same labels and seed give the same sample."""
    classes = sorted(labels["label"].unique().to_pylist())
    label_N = compute.index_in(labels["label"], pa.array(classes, pa.string())).to_numpy()
    place_M = audit.draw(label_N, labels["confidence"].to_numpy(), n, generator("draw", *seed))
    stratum_N = audit.strata(label_N, n)
    size_H = np.bincount(stratum_N)
    drawn = labels.take(place_M)
    return Sample(
        drawn["image_id"].to_pylist(),
        drawn["label"].to_pylist(),
        stratum_N[place_M],
        size_H,
        classes if len(size_H) == len(classes) else [""] * len(size_H),
    )


def plant(known: Any, classes: Sequence[str], count: int, seed: Sequence[str | int]) -> list[tuple[str, str, str]]:
    """image_id, a deliberately wrong label and the true one, of `count` images (or all) whose class is known.

    `known`: image_id, label. Any wrong class is as likely as any other.
    """
    rng = generator("plant", *seed)
    if len(classes) < 2:
        return []
    chosen = rng.choice(known.num_rows, min(count, known.num_rows), replace=False)
    planted = []
    for image_id, truth in zip(*known.take(chosen).select(["image_id", "label"]).to_pydict().values(), strict=True):
        wrong = [name for name in classes if name != truth]
        planted.append((image_id, wrong[int(rng.integers(len(wrong)))], truth))
    return planted


def generator(*seed: str | int) -> np.random.Generator:
    """A generator of its own for every audit, the same in every process."""
    return np.random.default_rng(int(files.digest(["audit", *seed])[:32], 16))
