"""Softmax outputs that drift compares: seeded samples of the pool, of each source and of what is new in them, and of

the labeled images that the teacher's own nets did not learn from. Letters: N pool images, C classes, K of a reference.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute

from tasks import files
from tasks.beliefs import VALUES, Beliefs
from tasks.images.wanted import digests

compute: Any = pyarrow.compute
MOST = 20_000  # images of a group that are looked at
KEPT = 2_000  # images whose outputs are kept for the next run
LEAST = 20  # fewer reference images are none


@dataclass(frozen=True, slots=True)
class Group:
    """Some pool images that are compared with one reference."""

    source: str | None  # None: all sources together
    new: bool  # those that the run before did not have, against the others
    rows: np.ndarray  # of the N pool images; a sample where there are many
    images: int  # before sampling


@dataclass(frozen=True, slots=True)
class Labeled:
    """What the teacher's kind of net says of labeled images that it did not learn from."""

    prob_KC: np.ndarray
    exact: bool  # the teacher itself said it, and learnt from no pool image


def labeled(teacher: Path, classes: int) -> Labeled:
    """held.parquet of a net's artefact: fold -1 is the calibration split, others are cross-fitted. No file: no rows."""
    path = teacher / "held.parquet"
    nothing = np.empty((0, classes), np.float32)
    if not path.is_file():
        return Labeled(nothing, False)
    table = files.read_table(path, ["fold", "prob"])
    prob_KC = compute.list_flatten(table["prob"]).to_numpy().reshape(-1, classes) if table.num_rows else nothing
    first = files.read_json(path.with_name("card.json"))["key"] == "r0"  # no student, which learnt from the pool
    return Labeled(prob_KC, first and bool(compute.all(compute.less(table["fold"], 0)).as_py()))


def with_labels(sources: list[str]) -> list[str]:
    """The sources that bring labeled images of their own: what else lies in them is of the same kind."""
    origins = {name: files.read_table(files.catalog(name) / "labels.parquet", ["origin"])["origin"] for name in sources}
    return [name for name, origin in origins.items() if compute.any(compute.equal(origin, "labeled")).as_py()]


def order(ids: Any, seed: int) -> np.ndarray:
    """The rows of the pool in a seeded order, in which an image stands before another whatever else there is."""
    word_N4 = digests(ids).view(">u8").reshape(-1, 4).astype(np.uint64)
    mixed = np.bitwise_xor.reduce(word_N4, axis=1) + np.uint64(int(files.digest([seed, "drift"])[:16], 16))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")


def groups(order_N: np.ndarray, source: Any, known_N: np.ndarray | None, classes: int) -> list[Group]:
    """The pool, each of its sources, and what is new in them. `known_N`: the run before had it; None: no such run."""
    sources = sorted(compute.unique(source).to_pylist())
    is_of = {name: compute.equal(source, name).to_numpy(zero_copy_only=False) for name in sources}
    chosen: list[tuple[str | None, bool, np.ndarray]] = [(None, False, np.ones(len(order_N), bool))]
    if len(sources) > 1:
        chosen += [(name, False, is_of[name]) for name in sources]
    if known_N is not None and not known_N.all():
        chosen += [(name, True, is_of[name] & ~known_N) for name in sources]
    return [
        Group(name, new, sample(order_N, is_in_N, MOST, classes), int(is_in_N.sum()))
        for name, new, is_in_N in chosen
        if is_in_N.any()
    ]


def sample(order_N: np.ndarray, is_in_N: np.ndarray, most: int, classes: int) -> np.ndarray:
    """Sorted rows of some of the images: the first `most` of them in the order, fewer where there are many classes."""
    return np.sort(order_N[is_in_N[order_N]][: min(most, VALUES // classes)])


def look(stored: Beliefs, rows: list[np.ndarray], confident: float) -> tuple[list[np.ndarray], float]:
    """The outputs of each list of rows, and of what share of the pool the teacher is surer than `confident`."""
    wanted = np.unique(np.concatenate(rows))
    found = np.empty((len(wanted), stored.classes), np.float32)
    first = sure = 0
    for block in stored.blocks():
        here = slice(*np.searchsorted(wanted, [first, first + len(block.prob_BC)]))
        found[here] = block.prob_BC[wanted[here] - first]
        first += len(block.prob_BC)
        sure += int((block.prob_BC.max(axis=1) > confident).sum())
    return [found[np.searchsorted(wanted, chosen)] for chosen in rows], sure / max(first, 1)
