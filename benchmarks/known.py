"""Predictions whose truth is known: a first teacher as the settings describe it, asked about images it never saw.

Used by benchmarks/promise.py. Trained once a data set, kept under .work/known; a killed training goes on where it was.
Other tasks are made of the same answers: `merged` classes, or `some` of them.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import one_hot

from tasks import files, params
from tasks.core.augment import Noise
from tasks.core.predict import predict
from tasks.core.train import Examples, Recipe, train
from tasks.models import Checkpoints
from tasks.nets.catalog import build
from tasks.progress import Progress

ROOT = Path(__file__).resolve().parent.parent
FOLDER = files.WORK / "known"
CLASSES = 10
Known = tuple[np.ndarray, np.ndarray]  # probabilities (N, C) and true classes (N,)


def digits(seed: int, labels: int = 50) -> Known:
    """Of the 1,797 handwritten digits those that a teacher of `labels` others never saw."""

    def read() -> tuple[Tensor, np.ndarray]:
        from tasks.images import decode
        from tasks.images import digits as source

        size = params.load(ROOT / "params.yaml").image.size
        records = list(source.read(Path()).records)
        pixels = [decode.decode(r.content, size, channels=1, background=255) for r in records]  # type: ignore[arg-type]
        return torch.from_numpy(np.stack(pixels)), np.array([int(r.label or 0) for r in records])

    name = f"digits-{seed}" if labels == 50 else f"digits-{seed}-of-{labels}"
    return _known(name, ROOT / "params.yaml", read, labels, seed)


def cifar(folder: Path, seed: int, asked: int, steps: int | None = None) -> Known:
    """`asked` training images of CIFAR-10 (JPEG), by a teacher of 4,000 others, trained for `steps`."""

    def read() -> tuple[Tensor, np.ndarray]:
        table = pq.read_table(folder / "train.parquet")
        keep = np.random.default_rng(seed).permutation(table.num_rows)[: asked + 4500]  # some of the 4,500 go spare
        rows = table.take(keep).to_pydict()
        pixels = [np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("RGB")) for image in rows["image"]]
        return torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy()), np.array(rows["label"])

    name = f"cifar-{seed}-{asked}" + (f"-{steps}-steps" if steps else "")
    return _known(name, ROOT / "settings/cifar10.yaml", read, 4000, seed, asked, steps)


def merged(known: Known, groups: list[list[int]]) -> Known:
    """The task of telling groups of classes apart: their probabilities add up."""
    prob_NC, truth_N = known
    group_C = np.empty(prob_NC.shape[1], np.int64)
    for number, classes in enumerate(groups):
        group_C[classes] = number
    return np.stack([prob_NC[:, classes].sum(axis=1) for classes in groups], axis=1), group_C[truth_N]


def some(known: Known, classes: list[int]) -> Known:
    """The task of telling some classes apart: their images alone, probabilities given that it is one of them."""
    prob_NC, truth_N = known
    rows = np.isin(truth_N, classes)
    kept_NC = prob_NC[rows][:, classes]
    return kept_NC / kept_NC.sum(axis=1, keepdims=True), np.searchsorted(classes, truth_N[rows])


def made_up(seed: int, images: int = 12_000) -> Known:
    """A net whose classes are off by offsets of their own (standard deviation 0.6 on the scale of log odds) and whose

    precision is near the usual targets, so that many a promise is a close call. Truths are drawn, not given.
    """
    rng = np.random.default_rng([seed, 77])
    said_N = rng.integers(0, CLASSES, images)
    margin_N = np.abs(rng.normal(rng.normal(4.0, 1.0, CLASSES)[said_N], 2.0))
    offset_C, temperature = rng.normal(0, 0.6, CLASSES), np.exp(rng.normal(0.2, 0.2))
    odds_N = margin_N / temperature + offset_C[said_N]
    right_N = rng.random(images) < 1 / (1 + (CLASSES - 1) * np.exp(-odds_N))
    sure_N = 1 / (1 + (CLASSES - 1) * np.exp(-margin_N))
    prob_NC = np.repeat(((1 - sure_N) / (CLASSES - 1))[:, None], CLASSES, axis=1)
    prob_NC[np.arange(images), said_N] = sure_N
    truth_N = np.where(right_N, said_N, (said_N + rng.integers(1, CLASSES, images)) % CLASSES)
    return prob_NC.astype(np.float32), truth_N


def _known(
    name: str,
    settings: Path,
    read: Callable[[], tuple[Tensor, np.ndarray]],
    labels: int,
    seed: int,
    asked: int | None = None,
    steps: int | None = None,
) -> Known:
    done = FOLDER / f"{name}.npz"
    if not done.is_file():
        done.parent.mkdir(parents=True, exist_ok=True)
        image_NCHW, truth_N = read()
        order_N = np.random.default_rng(seed).permutation(len(truth_N))
        taught = np.concatenate([order_N[truth_N[order_N] == c][: labels // CLASSES] for c in range(CLASSES)])
        others = order_N[~np.isin(order_N, taught)][:asked]
        cfg = params.load(settings)
        cfg = cfg.model_copy(update={"teacher": cfg.teacher.model_copy(update={"steps": steps or cfg.teacher.steps})})
        net = _teacher(name, cfg, image_NCHW[taught], truth_N[taught], seed)
        parts = []
        with Progress(len(others), f"{name}: asking", "images") as progress:
            for part in np.array_split(others, -(-len(others) // 1000)):
                parts.append(predict(net, image_NCHW[part], 256).numpy())
                progress.advance(len(part))
        temporary = done.with_name(f"{name}.tmp.npz")
        np.savez(temporary, prob=np.concatenate(parts), truth=truth_N[others])
        temporary.replace(done)
    found = np.load(done)
    return found["prob"], found["truth"]


def _teacher(name: str, cfg: params.Settings, image_NCHW: Tensor, truth_N: np.ndarray, seed: int) -> torch.nn.Module:
    spec = cfg.teacher
    form = {"width": spec.width, "dropout": spec.dropout, "stochastic_depth": spec.stochastic_depth}
    torch.manual_seed(seed)
    net = build(spec.net, channels=cfg.image.channels, classes=CLASSES, **form)
    recipe = Recipe(steps=spec.steps, ratio=0, **cfg.train.recipe())
    folder = FOLDER / name
    folder.mkdir(exist_ok=True)
    checkpoints = Checkpoints(folder)
    state = checkpoints.latest()
    target_NC = one_hot(torch.from_numpy(truth_N), CLASSES).float()
    examples = Examples(image_NCHW, target_NC, torch.ones(len(truth_N), dtype=torch.int64))
    begun = int(state["step"]) if state else 0
    with Progress(spec.steps, f"{name}: {spec.net} x{spec.width}", "steps", begun) as progress:
        return train(
            net,
            examples,
            None,
            recipe,
            Noise(**spec.noise.model_dump()),
            seed,
            state=state,
            save=checkpoints.write,
            save_every=cfg.train.checkpoint_every,
            log=lambda row: progress.advance(int(row["step"]) - progress.done),
        )
