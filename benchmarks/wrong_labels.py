"""Pools with 10 % wrong labels, and what nets say of them: the cases that benchmarks/review_queue.py explains."""

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot

from benchmarks.digits import CLASSES, digits, fit, make_split
from tasks import files, params
from tasks.core import doubt
from tasks.core.neighbours import against
from tasks.core.train import Examples
from tasks.nearest import look

ROOT = Path(__file__).resolve().parent.parent
HOME = files.WORK / "review_queue"
SETTINGS, WAYS = ("given", "learnt", "pipeline"), ("even", "confusable")
CHANGED = 0.1
CIFAR_LABELS, CIFAR_HELD, CIFAR_POOL, RIGHT = 4000, 1000, 40_000, 0.9
CIFAR_STEPS, CIFAR_WIDTH = 400, 1
DIGITS, CIFAR = "digits", "CIFAR-10 (JPEG)"
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Case:
    """Labels of N images, which are wrong, and what is known of them."""

    label_N: Array
    truth_N: Array
    changed_N: Array
    first_N: Array  # how much the net speaks against the label, or the teacher in `pipeline`
    second_N: Array  # how much the student does; NaN elsewhere
    vote_N: Array
    confidence_N: Array  # NaN where no threshold was asked
    threshold: Array  # ()


@dataclass(frozen=True, slots=True)
class Set:
    """A labeled part, a pool and, of CIFAR-10, images held out."""

    cfg: params.Settings
    image_NCHW: Tensor
    label_N: Tensor
    labeled: Tensor
    held: Tensor
    pool: Tensor


def case(name: str, setting: str, way: str, seed: int, folder: Path | None, steps: int | None) -> Case:
    """From the disk, or made now."""
    done = HOME / f"{name.split(maxsplit=1)[0]}-{setting}-{way}-{seed}-{steps or 0}.npz"
    if not done.is_file():
        made = _made(name, setting, way, seed, folder, steps)
        _keep(done, **{field.name: getattr(made, field.name) for field in fields(Case)})
        wrong = (made.label_N != made.truth_N).mean()
        print(f"{done.name}: {len(made.label_N):,} labels, {wrong:.1%} wrong", flush=True)
    return Case(**np.load(done))


def _made(name: str, setting: str, way: str, seed: int, folder: Path | None, steps: int | None) -> Case:
    data = _digits(seed, steps) if name == DIGITS else _cifar(seed, folder or Path(), steps or CIFAR_STEPS)
    prob_NC, feature_ND, held_MC = _teacher(name, seed, folder, steps)
    rng = np.random.default_rng([seed, SETTINGS.index(setting), WAYS.index(way)])
    truth_N, image_NCHW = data.label_N[data.pool].numpy(), data.image_NCHW[data.pool]
    to_C = _mistaken(prob_NC, truth_N) if way == "confusable" else None
    unknown_N = np.full(len(truth_N), np.nan)
    if setting != "pipeline":
        label_N, changed_N = _changed(truth_N, to_C, rng)
        if setting == "learnt":
            pseudo = _examples(image_NCHW, label_N)
            prob_NC, feature_ND = _says(_fit(data, pseudo, seed, WAYS.index(way) + 1), image_NCHW)
        first_N = doubt.against(prob_NC, label_N)
        vote_N = _vote(feature_ND, label_N)
        return Case(label_N, truth_N, changed_N, first_N, unknown_N, vote_N, unknown_N, np.array(np.nan))
    threshold = data.cfg.rounds["r1"].curate.threshold if name == DIGITS else _asked(held_MC, data)
    kept = np.flatnonzero(prob_NC.max(axis=1) >= threshold)
    said_NC, truth_N, image_NCHW = prob_NC[kept], truth_N[kept], image_NCHW[torch.from_numpy(kept)]
    was_N, at = said_NC.argmax(axis=1), np.arange(len(kept))
    label_N, changed_N = _changed(was_N, to_C, rng)
    backed_NC = said_NC.copy()
    backed_NC[at, label_N], backed_NC[at, was_N] = said_NC[at, was_N], said_NC[at, label_N]
    student = _fit(data, _examples(image_NCHW, label_N), seed, WAYS.index(way) + 3)
    prob_NC, feature_ND = _says(student, image_NCHW)
    first_N, second_N = doubt.against(backed_NC, label_N), doubt.against(prob_NC, label_N)
    changed_N, vote_N = changed_N & (label_N != truth_N), _vote(feature_ND, label_N)
    return Case(label_N, truth_N, changed_N, first_N, second_N, vote_N, backed_NC[at, label_N], np.array(threshold))


def _teacher(name: str, seed: int, folder: Path | None, steps: int | None) -> tuple[Array, Array, Array]:
    """What the teacher says of the pool, its features, what it says of the images held out; from the disk, or now."""
    done = HOME / f"{name.split(maxsplit=1)[0]}-teacher-{seed}-{steps or 0}.npz"
    if not done.is_file():
        data = _digits(seed, steps) if name == DIGITS else _cifar(seed, folder or Path(), steps or CIFAR_STEPS)
        net = _fit(data, None, seed, 0)
        prob_NC, feature_ND = _says(net, data.image_NCHW[data.pool])
        held_MC = _says(net, data.image_NCHW[data.held])[0] if len(data.held) else prob_NC[:0]
        _keep(done, prob=prob_NC, feature=feature_ND, held=held_MC)
        print(
            f"{done.name}: {(prob_NC.argmax(axis=1) == data.label_N[data.pool].numpy()).mean():.1%} right", flush=True
        )
    kept = np.load(done)
    return kept["prob"], kept["feature"], kept["held"]


def _fit(data: Set, pseudo: Examples | None, seed: int, index: int) -> nn.Module:
    spec = data.cfg.teacher if pseudo is None else data.cfg.rounds["r1"].student
    labeled = _examples(data.image_NCHW[data.labeled], data.label_N[data.labeled].numpy())
    return fit(data.cfg, spec, labeled, pseudo, seed, index)


def _mistaken(prob_NC: Array, truth_N: Array) -> Array:
    """The class that the teacher holds most probable beside the true one, (C,), for images of each class."""
    mean_CC = np.stack([prob_NC[truth_N == c].mean(axis=0) for c in range(CLASSES)])
    np.fill_diagonal(mean_CC, -1)
    other_C: Array = mean_CC.argmax(axis=1)
    return other_C


def _changed(label_N: Array, to_C: Array | None, rng: np.random.Generator) -> tuple[Array, Array]:
    """The labels with CHANGED of them, drawn evenly, moved to `to_C` of their class or to any other; which ones."""
    changed_N = np.zeros(len(label_N), bool)
    changed_N[rng.permutation(len(label_N))[: round(CHANGED * len(label_N))]] = True
    any_N = (label_N + rng.integers(1, CLASSES, len(label_N))) % CLASSES
    return np.where(changed_N, any_N if to_C is None else to_C[label_N], label_N), changed_N


def _asked(held_MC: Array, data: Set) -> float:
    """The lowest confidence from which on RIGHT of the held-out labels are right."""
    order = np.argsort(-held_MC.max(axis=1))
    is_right_M = (held_MC.argmax(axis=1) == data.label_N[data.held].numpy())[order]
    enough = np.flatnonzero(np.cumsum(is_right_M) >= RIGHT * np.arange(1, len(order) + 1))
    return float(held_MC.max(axis=1)[order[enough[-1]]])


def _says(net: nn.Module, image_NCHW: Tensor) -> tuple[Array, Array]:
    prob_NC, feature_ND = look(net, image_NCHW, 256)
    return prob_NC.numpy(), feature_ND.numpy()


def _vote(feature_ND: Array, label_N: Array) -> Array:
    k = params.load(ROOT / "params.yaml").review.queue.neighbours
    found: Array = against(torch.from_numpy(feature_ND), torch.from_numpy(label_N), CLASSES, k).numpy()
    return found


def _examples(image_NCHW: Tensor, label_N: Array) -> Examples:
    target_NC = one_hot(torch.from_numpy(label_N), CLASSES).float()
    return Examples(image_NCHW, target_NC, torch.ones(len(label_N), dtype=torch.int64))


def _digits(seed: int, steps: int | None) -> Set:
    cfg = params.load(ROOT / "params.yaml")
    cfg = _with(cfg, {"steps": steps}) if steps else cfg
    split = make_split(seed, 50)
    pool = torch.cat([split.pool, split.test])
    return Set(cfg, *digits(cfg.image.size), split.labeled, pool[:0], pool)


def _with(cfg: params.Settings, other: dict[str, int]) -> params.Settings:
    """The settings with teacher and first student changed."""
    entry = cfg.rounds["r1"]
    entry = entry.model_copy(update={"student": entry.student.model_copy(update=other)})
    return cfg.model_copy(update={"teacher": cfg.teacher.model_copy(update=other), "rounds": {"r1": entry}})


def _cifar(seed: int, folder: Path, steps: int) -> Set:
    cfg = params.load(ROOT / "settings/cifar10.yaml")
    cfg = _with(cfg, {"steps": steps, "width": CIFAR_WIDTH})
    image_NCHW, label_N = _cifar_images(folder, cfg.image.size)
    order = torch.randperm(len(label_N), generator=torch.Generator().manual_seed(seed))
    labeled, held, pool = order[: CIFAR_LABELS + CIFAR_HELD + CIFAR_POOL].split([CIFAR_LABELS, CIFAR_HELD, CIFAR_POOL])
    return Set(cfg, image_NCHW, label_N, labeled, held, pool)


@cache
def _cifar_images(folder: Path, size: int) -> tuple[Tensor, Tensor]:
    from tasks.images.decode import decode

    rows = pq.read_table(folder / "train.parquet").to_pydict()
    pixels = [decode(image["bytes"], size, channels=3, background=255) for image in rows["image"]]
    return torch.from_numpy(np.stack(pixels)), torch.tensor(rows["label"])


def _keep(path: Path, **arrays: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, **arrays)
    temporary.replace(path)
