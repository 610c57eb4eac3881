"""Stage `label@rK`: what the teacher of round K believes about every pool image.

The teacher is clean: eval mode, no dropout, no stochastic depth, no augmentation (Noisy Student, section 2). All
probabilities are kept, so that temperature, threshold, balance and soft or hard labels change without another pass.

What a teacher said of an image stays true while the pool around it changes. Predictions are therefore committed, chunk
by chunk, to a store under .work that outlives the run: a killed run goes on there, a grown pool costs what is new.
"""

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import nn

from tasks import files
from tasks.champions import refuse_stopped
from tasks.core.predict import predict_each
from tasks.errors import Integrity, UserError
from tasks.images.store import Images
from tasks.images.wanted import DIGEST, digests, names
from tasks.models import load_model
from tasks.progress import Progress
from tasks.stage import Stage, code_in_use

PARAMS = ("image", "label", "rounds.{key}.teacher")
CODE = ("tasks.core.", "tasks.images.", "tasks.label", "tasks.models", "tasks.nets.")
PART_ROWS = 100_000
READ_ROWS = 20_000  # of the pool's table at once: its text is twice as long as what is kept
BAND_BYTES = 256 * 2**20  # of probabilities put into the pool's order at once, and no less than a part of the result
M_ARENA_MAX = -8  # of malloc.h
STORE_BYTES = 10 * 2**30  # of predictions by earlier teachers of a round; the least recently used go first


def label(stage: Stage, round_: str) -> None:
    """Pool images and a teacher in, data/probs/rK out."""
    _give_back_what_is_freed()
    images = Images(stage.inputs(files.IMAGES), stage.settings.cache)
    stage.input(files.SPLIT)
    teacher = stage.input(files.champion(stage.settings.rounds[round_].teacher), only=files.NET)
    refuse_stopped(stage, round_, stage.settings.rounds[round_].teacher)
    net, card = load_model(teacher)
    _refuse_other_form(stage, round_, card)
    digest_N = _pool()
    store = _store(stage, teacher)
    predicted = _predict_in_chunks(stage, images, net, digest_N, store)
    out = stage.output(files.probs(round_))
    for index, (digest_P, prob_PC) in enumerate(_parts(store, digest_N, len(card["classes"]))):
        files.write_table(_table(names(digest_P), prob_PC), out / f"part-{index:05d}.parquet")
    stage.summary(images=len(digest_N), teacher=card["key"])
    stage.counts(predicted=predicted, reused=len(digest_N) - predicted)
    print(f"{stage.name}: {predicted} images predicted, {len(digest_N) - predicted} predictions reused")


def _give_back_what_is_freed() -> None:
    """Of a million images: 75 MB less than with Arrow's own pool, 100 MB less than with a heap for each thread."""
    pa.set_memory_pool(pa.system_memory_pool())
    if sys.platform == "linux":
        with suppress(AttributeError):  # glibc's alone
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def _pool() -> np.ndarray:
    """The pool's images, sorted, as digests: a million take 32 MB."""
    path, count = files.SPLIT / "pool.parquet", 0
    digest_N = np.empty(files.rows(path), f"S{DIGEST}")
    for table in files.iter_batches([path], READ_ROWS, ["image_id", "status"]):
        digest_P = digests(table["image_id"].filter(pc.equal(table["status"], pa.scalar("pool"))))
        digest_N[count : count + len(digest_P)] = digest_P
        count += len(digest_P)
    pa.default_memory_pool().release_unused()
    return digest_N[:count]


def _store(stage: Stage, teacher: Path) -> Path:
    """The folder of predictions by this teacher, in this form, by this code. It says when each was used last."""
    settings = stage.settings
    # Other companions in a batch may change the last bits of a prediction, so the batch counts too; chunks do not.
    form = [settings.image.model_dump(), settings.label.batch, code_in_use(*CODE)]
    store = stage.home / "predictions" / files.digest([files.net_hash(teacher), form])[:16]
    store.mkdir(parents=True, exist_ok=True)
    os.utime(store)
    left = STORE_BYTES
    for other in sorted(store.parent.iterdir(), key=lambda path: -path.stat().st_mtime_ns):
        left -= sum(path.stat().st_size for path in other.iterdir())
        if left < 0 and other != store:
            shutil.rmtree(other)
    return store


def _refuse_other_form(stage: Stage, round_: str, card: dict[str, object]) -> None:
    wanted = stage.settings.image.model_dump() | {"classes": files.read_json(files.SPLIT / "classes.json")}
    for name, value in wanted.items():
        if name in card and card[name] != value:
            what = f"the teacher of {round_} was trained with {name} = {card[name]}, the settings now say {value}"
            raise UserError("other_teacher", what, "run `dvc repro`: the teacher is trained again")


def _predict_in_chunks(stage: Stage, images: Images, net: nn.Module, digest_N: np.ndarray, store: Path) -> int:
    """Commit the predictions that are missing, one table a chunk, and return how many those are."""
    settings = stage.settings
    is_done_N = _done(store, digest_N)
    done = int(is_done_N.sum())
    todo = digest_N[~is_done_N] if done else digest_N
    note = store / "began_with.json"  # as many as there were before this work; left behind by a killed run alone
    began = min(int(files.read_json(note)), done) if note.is_file() else done
    files.replace_json(note, began)
    if began < done:
        print(
            f"{stage.name}: {done - began} of {len(digest_N)} images were labeled before the interruption", flush=True
        )
    with Progress(len(digest_N), stage.name, "images", done) as progress:
        chunks = images.batches(todo, settings.image, settings.label.chunk) if len(todo) else ()
        predicted = predict_each(net, chunks, settings.label.batch)
        for index, (chunk_ids, said_NC) in enumerate(predicted, start=_next(store)):
            prob_NC = said_NC.numpy()
            _refuse_bad_rows(chunk_ids, prob_NC)
            path = store / f"chunk-{index:06d}.parquet"
            files.write_table(_table(chunk_ids, prob_NC), path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
            progress.advance(len(chunk_ids))
    note.unlink()
    return len(digest_N) - began


def _done(store: Path, digest_N: np.ndarray) -> np.ndarray:
    """Which images have a prediction. A damaged chunk is thrown away: its images are predicted again."""
    is_done_N = np.zeros(len(digest_N), bool)
    for path in _chunks(store):
        try:
            _, at_Q = _ours(digest_N, digests(files.read_table(path)["image_id"]))
        except Integrity:
            print(f"{path} is damaged; its images are labeled again", flush=True)
            path.unlink()
        else:
            is_done_N[at_Q] = True
    return is_done_N


def _ours(digest_N: np.ndarray, digest_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows Q of the P digests that are among the N (sorted) ones, and their places there."""
    if not len(digest_N):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    at_P = np.minimum(np.searchsorted(digest_N, digest_P), len(digest_N) - 1)
    row_Q = np.flatnonzero(digest_N[at_P] == digest_P)
    return row_Q, at_P[row_Q]


def _parts(store: Path, digest_N: np.ndarray, classes: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Digests (P,) and probabilities (P, C) of each part of the result; the chunks are read once for a band of them."""
    band = PART_ROWS * max(1, BAND_BYTES // (4 * classes * PART_ROWS))
    for first in range(0, len(digest_N), band):
        digest_B = digest_N[first : first + band]
        prob_BC = _in_order(store, digest_B, classes)
        for start in range(0, len(digest_B), PART_ROWS):
            yield digest_B[start : start + PART_ROWS], prob_BC[start : start + PART_ROWS]


def _in_order(store: Path, digest_N: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities (N, C) in the order of the digests, from all chunks; of other images nothing is taken."""
    prob_NC, is_found_N = np.empty((len(digest_N), classes), np.float32), np.zeros(len(digest_N), bool)
    for path in _chunks(store):
        chunk = files.read_table(path)
        row_Q, at_Q = _ours(digest_N, digests(chunk["image_id"]))
        prob_NC[at_Q] = pc.list_flatten(chunk["prob"]).to_numpy().reshape(-1, classes)[row_Q]
        is_found_N[at_Q] = True
    if not is_found_N.all():
        raise AssertionError(f"{len(digest_N)} pool images, {is_found_N.sum()} predictions")
    return prob_NC


def _next(store: Path) -> int:
    return max((int(path.stem.removeprefix("chunk-")) + 1 for path in _chunks(store)), default=0)


def _chunks(folder: Path) -> list[Path]:
    return sorted(folder.glob("chunk-*.parquet"))


def _table(ids: list[str], prob_NC: np.ndarray) -> pa.Table:
    prob = pa.FixedSizeListArray.from_arrays(pa.array(prob_NC.ravel(), pa.float32()), prob_NC.shape[1])
    return pa.table({"image_id": ids, "prob": prob}, pa.schema([("image_id", pa.string()), ("prob", prob.type)]))


def _refuse_bad_rows(ids: list[str], prob_NC: np.ndarray) -> None:
    bad_N = ~np.isfinite(prob_NC).all(axis=1) | (np.abs(prob_NC.sum(axis=1) - 1) > 1e-3)
    if bad_N.any():
        raise AssertionError(f"probabilities of image {ids[int(bad_N.argmax())]} are not a distribution")
