"""A round's stored probabilities beside the pool they are about, block by block: never all in memory at once.

data/split/pool.parquet and data/probs/rK are both sorted by image_id, so they are read side by side. B images of a
block, C classes.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from tasks import decisions, files, held
from tasks.core import belief, curation
from tasks.core.selection import Keys
from tasks.errors import UserError
from tasks.params import Curate
from tasks.progress import Progress

Column = Any  # an Arrow array, and
compute: Any = pyarrow.compute  # the stubs of neither know what they take
T = TypeVar("T")
R = TypeVar("R")
THREADS = os.cpu_count() or 1
VALUES = 1 << 22  # probabilities in a block: some 100 MB with what is computed from them


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows of the pool table, and the probabilities of those with the status `pool`."""

    pool: pa.Table  # image_id, status and, where asked for, source
    ids: Column  # of the B rows with the status pool
    source: Column | None
    prob_BC: np.ndarray


class Beliefs:
    """The stored probabilities of a round. Every pass reads the files again."""

    def __init__(self, round_: str, classes: int, with_source: bool = False) -> None:
        self.round = round_
        self.classes = classes
        self._columns = ["image_id", "status", *(["source"] if with_source else [])]
        self.images = sum(pq.read_metadata(path).num_rows for path in files.parts(files.probs(round_)))

    def blocks(self) -> Iterator[Block]:
        """Every row of the pool table once; AssertionError where the probabilities are not exactly the pool's."""
        probs = _Reader(files.iter_batches(files.parts(files.probs(self.round)), self.rows))
        for pool in self.pool():
            ours = pool.filter(compute.equal(pool["status"], "pool")).combine_chunks()
            table = probs.take(ours.num_rows)
            if table is None or not table["image_id"].equals(ours["image_id"]):
                raise AssertionError(f"data/probs/{self.round} does not hold exactly the pool")
            source = _array(ours["source"]) if "source" in ours.column_names else None
            yield Block(pool, _array(ours["image_id"]), source, _matrix(table["prob"], self.classes))
        if probs.take(1) is not None:
            raise AssertionError(f"data/probs/{self.round} holds more than the pool")

    def pool(self) -> Iterator[pa.Table]:
        """The pool table alone, in the same blocks."""
        yield from files.iter_batches([files.SPLIT / "pool.parquet"], self.rows, self._columns)

    def read(self, reading: belief.Reading) -> Iterator[np.ndarray]:
        """One pass over the probabilities alone, (B, C), read like that."""
        for table in files.iter_batches(files.parts(files.probs(self.round)), self.rows, ["prob"]):
            yield reading.soft(_matrix(table["prob"], self.classes))

    @property
    def rows(self) -> int:
        """Rows of the pool table in a block."""
        return max(min(VALUES // self.classes, 1 << 16), 1 << 10)


def reading(beliefs: Beliefs, teacher: Path, settings: Curate, classes: list[str], key: str) -> belief.Reading:
    """How a round reads what its teacher said: the teacher's calibration, then `temperature`, then `align`.

    `teacher` is the net's artefact. UserError for a prior of other classes.
    """
    found = held.calibration(teacher, settings.calibration, len(classes))
    weight_C = np.exp(found.bias_C) if found.bias_C.any() else None
    calibrated = belief.Reading(found.temperature, weight_C).then(settings.temperature)
    ratio_C = _prior_ratio(beliefs, calibrated, settings, classes, key)
    return calibrated.then(1.0, ratio_C)


def _prior_ratio(
    beliefs: Beliefs, calibrated: belief.Reading, settings: Curate, classes: list[str], key: str
) -> np.ndarray | None:
    """What the policy `align` multiplies each class's probability by, (C,)."""
    align: belief.Align | np.ndarray | dict[str, float] = settings.align
    if align == "none":
        return None
    if isinstance(align, dict):
        if odd := sorted(set(align) ^ set(classes)):
            word = "is no class" if odd[0] in align else "has no share"
            raise UserError("bad_prior", f"{key}.align: {odd[0]!r} {word}", f"give one share to each of {classes}")
        align = np.array([align[name] for name in classes], dtype=np.float64)
    labels = files.read_table(files.SPLIT / "labeled.parquet", ["label"])["label"].to_pandas().value_counts()
    labeled_C = np.array([labels.get(name, 0) for name in classes], dtype=np.float64)
    ratio_C: np.ndarray | None = belief.prior_ratio(align, lambda: beliefs.read(calibrated), labeled_C)
    return ratio_C


def human_words(teacher: str, classes: list[str], said: decisions.Standing) -> tuple[dict[str, int], set[str]]:
    """What people said of each image they spoke of, in the teacher's round and before; newer rounds overrule older.

    Second the images that people disagree on, here or in an older round: like rejected ones they are not learnt from.
    """
    words: dict[str, int] = {}
    conflicts = set(said.conflicts)
    path = files.labels(teacher) / "labels.parquet"
    for table in files.iter_batches([path], 1 << 16, ["image_id", "label", "source", "reason"]):
        human = table.filter(compute.equal(table["source"], "human")).to_pydict()
        for image_id, name, reason in zip(human["image_id"], human["label"], human["reason"], strict=True):
            words[image_id] = curation.REJECTED if name is None else classes.index(name)
            if reason == decisions.CONFLICT and image_id not in said.words:
                conflicts.add(image_id)
    fixed = {"reject": curation.REJECTED, "undo": curation.NO_DECISION}
    for image_id, decision in said.words.items():
        words[image_id] = fixed[decision.action] if decision.action in fixed else classes.index(decision.new)
    return words | dict.fromkeys(conflicts, curation.REJECTED), conflicts


class Words:
    """What people said of some images: class index, REJECTED or NO_DECISION, by image_id."""

    def __init__(self, words: dict[str, int]) -> None:
        self._ids = pa.array(sorted(words), pa.string())
        self._word_K = np.array([*(words[i] for i in sorted(words)), curation.NO_DECISION], dtype=np.int64)
        self.met = 0  # images asked about so far of whom something was said

    def __len__(self) -> int:
        return len(self._ids)

    def of(self, ids: Column) -> np.ndarray:
        """One word for each image, int64 (B,)."""
        place_B = compute.fill_null(compute.index_in(ids, value_set=self._ids), len(self)).to_numpy(
            zero_copy_only=False
        )
        self.met += int((place_B < len(self)).sum())
        word_B: np.ndarray = self._word_K[place_B]
        return word_B


@dataclass(slots=True)
class Compact:
    """All that is kept of a pool while it is decided on: 6 to 10 bytes an image."""

    label_N: np.ndarray  # int16 or int32
    key_N: Keys  # see core.curation
    source_N: np.ndarray  # int16; empty without a cap
    mean: curation.Mean
    classes: int

    def decide(self, settings: Curate, threshold: float | np.ndarray, threads: int) -> curation.Plan:
        """The policies of the settings; marks in the keys which images are filtered out."""
        chosen = settings.model_dump(include={"adaptive", "source_cap", "per_class", "max_copies"})
        columns = (self.label_N, self.key_N, self.source_N, self.mean, self.classes)
        return curation.decide(*columns, threshold=threshold, **chosen, threads=threads)


def compact(beliefs: Beliefs, words: Words, read: belief.Reading, settings: Curate, threads: int) -> Compact:
    """One pass over the probabilities: each image's label and key; where sources are capped its source too, and the

    means over the pool where a policy asks for them.
    """
    count, capped, averaged = beliefs.images, settings.source_cap is not None, settings.adaptive == "freematch"
    found = Compact(
        np.empty(count, curation.label_type(beliefs.classes)),
        np.empty(count, np.int32),
        np.empty(count if capped else 0, np.int16),
        curation.Mean.of(np.empty((0, beliefs.classes), np.float32)),
        beliefs.classes,
    )
    sources = pa.array(_sources(beliefs) if capped else [], pa.string())

    def choose(work: tuple[int, Block, np.ndarray]) -> tuple[int, np.ndarray, Keys, curation.Mean]:
        first, block, human_B = work
        belief.refuse_bad_rows(block.prob_BC, human_B, first)
        soft_BC = read.soft(block.prob_BC)
        undecided_BC = soft_BC[human_B == curation.NO_DECISION] if averaged else soft_BC[:0]
        return first, *curation.choose(soft_BC, human_B), curation.Mean.of(undecided_BC)

    def works() -> Iterator[tuple[int, Block, np.ndarray]]:
        first = 0
        for block in beliefs.blocks():
            if capped:
                found.source_N[first : first + len(block.ids)] = compute.index_in(block.source, value_set=sources)
            yield first, block, words.of(block.ids)
            first += len(block.ids)

    with Progress(count, f"curate@{beliefs.round}", "images") as progress:
        for first, label_B, key_B, mean in in_threads(choose, works(), threads):
            found.label_N[first : first + len(label_B)] = label_B
            found.key_N[first : first + len(key_B)] = key_B
            found.mean = found.mean + mean
            progress.advance(len(label_B))
    return found


def in_threads(do: Callable[[T], R], works: Iterable[T], threads: int) -> Iterator[R]:
    """`do` of each, in order; no more than two results a thread wait."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        for work in works:
            waiting.append(pool.submit(do, work))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _sources(beliefs: Beliefs) -> list[str]:
    found: set[str] = set()
    for pool in beliefs.pool():
        found |= set(compute.unique(pool["source"]).to_pylist())
    return sorted(found)


def _array(column: Column) -> Column:
    array = column.combine_chunks()
    return array.chunk(0) if isinstance(array, pa.ChunkedArray) else array


def _matrix(column: Column, classes: int) -> np.ndarray:
    matrix: np.ndarray = compute.list_flatten(column).to_numpy().reshape(-1, classes)
    return matrix


class _Reader:
    """Hands out a stream of tables in pieces of any length."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self._rest: pa.Table | None = None

    def take(self, rows: int) -> pa.Table | None:
        """The next rows; None when fewer are left."""
        rest = self._rest
        while rest is None or rest.num_rows < rows:
            table = next(self._tables, None)
            if table is None:
                return None
            rest = table if rest is None else pa.concat_tables([rest, table])
        self._rest = rest.slice(rows)
        return rest.slice(0, rows)
