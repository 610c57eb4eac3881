"""Trains the nets of a row of benchmarks/ssl.py, as the stages do, and counts what each costs.

A finished net stays under .work/ssl in a folder named by all that made it, so that rows share what they have in common
and a killed row goes on. Letters: N images, C classes.
"""

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.digits import pseudo_examples
from benchmarks.ssl_data import CLASSES, Material, Part
from benchmarks.ssl_rows import Base, Lesson
from tasks import files, params, recipes
from tasks.core.augment import Noise, augment
from tasks.core.loss import cross_entropy
from tasks.core.metrics import accuracy
from tasks.core.predict import predict
from tasks.core.train import Examples, train
from tasks.models import build_from, load_model, parameters, save_model

BATCH = 256
NAMES = [str(c) for c in range(CLASSES)]


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished net, its identity, and what is recorded of it."""

    net: nn.Module
    identity: str
    record: dict[str, Any]


def follow(lessons: list[Lesson], start: Base, split: Material, where: list[Any], folder: Path) -> dict[str, Trained]:
    """Train the nets of a row, or take those that are finished. `where`: data, labels, pool and seed."""
    done: dict[str, Trained] = {}
    for lesson in lessons:
        teacher = done.get(lesson.teacher or "")
        identity = files.digest([where, start.image.model_dump(), described(lesson), teacher and teacher.identity])[:24]
        kept = folder / identity
        if not (kept / "card.json").is_file():
            began, worked = time.perf_counter(), time.process_time()
            net, record = _taught(lesson, start, split, teacher.net if teacher else None, identity)
            record |= {"cpu_seconds": round(time.process_time() - worked, 1)}
            record |= {"wall_seconds": round(time.perf_counter() - began, 1)}
            record |= {"validation": score(net, split.validation)}
            card = lesson.spec.model_dump() | start.image.model_dump() | {"classes": NAMES, "record": record}
            kept.mkdir(parents=True, exist_ok=True)
            save_model(kept, net, card)
        net, card = load_model(kept)
        done[lesson.key] = Trained(net, identity, {"key": lesson.key} | card["record"])
    return done


def described(lesson: Lesson) -> dict[str, Any]:
    """All of a lesson that decides what is learnt; a lesson's name does not."""
    return {
        "spec": lesson.spec.model_dump(),
        "train": lesson.train.recipe(),
        "curate": lesson.curate and lesson.curate.model_dump(),
        "all_labels": lesson.all_labels,
        "noised_teacher": lesson.noised_teacher,
    }


def score(net: nn.Module, part: Part) -> float:
    """Accuracy."""
    return accuracy(predict(net, part.image_NCHW, BATCH).numpy(), part.label_N.numpy())


def cost(lesson: Lesson, image: params.Image, asked: int) -> float:
    """Floating-point operations of a lesson; a backward pass counts as two forward ones. `asked`: images its net labels

    afterwards. A weak view (FixMatch, mean teacher) is one forward pass more of each pool image.
    """
    spec = lesson.spec
    ratio = spec.ratio if isinstance(spec, params.Student) else 0
    views = ratio if ratio and isinstance(spec, params.Student) and spec.consistency.method != "none" else 0
    passes = spec.steps * lesson.train.batch * (3 * (1 + ratio) + views) + asked
    return passes * flops(spec.net, spec.width, image.channels, image.size)


@cache
def flops(net: str, width: int, channels: int, size: int) -> int:
    """Floating-point operations of the forward pass of one image."""
    form = {"net": net, "width": width, "dropout": 0.0, "stochastic_depth": 0.0, "channels": channels, "classes": NAMES}
    built = build_from(form).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        built(torch.zeros(1, channels, size, size, dtype=torch.uint8))
    return int(counter.get_total_flops())


def equal_steps(costly: list[Lesson], lesson: Lesson, image: params.Image, pool: int) -> int:
    """Steps of `lesson` that cost what the lessons of a chain cost, its passes over the pool included."""
    students = len([one for one in costly if one.teacher])
    total = sum(cost(one, image, pool if number < students else 0) for number, one in enumerate(costly))
    return max(1, int(total / (cost(lesson, image, 0) / lesson.spec.steps)))


def _taught(
    lesson: Lesson, start: Base, split: Material, teacher: nn.Module | None, identity: str
) -> tuple[nn.Module, dict[str, Any]]:
    seed = int(identity[:8], 16)
    labeled, record = _examples([split.labeled, split.pool] if lesson.all_labels else [split.labeled]), {}
    pseudo = None
    if lesson.curate:
        prob_NC = _beliefs(lesson, split.pool, teacher, seed)
        pseudo = pseudo_examples(split.pool.image_NCHW, prob_NC, lesson.curate, split.labeled.label_N)
        if teacher:
            record = _kept(prob_NC, lesson.curate, split)
        pseudo = pseudo if len(pseudo.copies_N) else None  # none reached the threshold: the labels alone are left
    spec = lesson.spec
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build_from(spec.model_dump() | start.image.model_dump() | {"classes": NAMES})
    recipe = recipes.recipe(spec, lesson.train, pseudo)
    losses = recipes.losses(spec, lesson.train, labeled, pseudo, None, cross_entropy)
    net = train(net, labeled, pseudo, recipe, recipes.noise(spec), seed, told=recipes.told(spec), **losses)
    record |= {"net": spec.net, "width": spec.width, "parameters": parameters(net), "steps": spec.steps}
    record |= {"images": spec.steps * recipe.batch * (1 + recipe.ratio)}
    return net, record | {"gflop": round(cost(lesson, start.image, 0) / 1e9, 1)}


def _examples(parts: list[Part]) -> Examples:
    label_N = torch.cat([part.label_N for part in parts])
    image_NCHW = torch.cat([part.image_NCHW for part in parts])
    return Examples(image_NCHW, one_hot(label_N, CLASSES).float(), torch.ones(len(label_N), dtype=torch.int64))


def _beliefs(lesson: Lesson, pool: Part, teacher: nn.Module | None, seed: int) -> NDArray[Any]:
    """What the teacher says of the pool; without one (FixMatch) nothing is known of it."""
    if teacher is None:
        return np.full((len(pool.label_N), CLASSES), 1 / CLASSES, np.float32)
    if not lesson.noised_teacher:
        return predict(teacher, pool.image_NCHW, BATCH).numpy()
    return noised(teacher, pool.image_NCHW, recipes.noise(lesson.spec), seed).numpy()


def noised(net: nn.Module, image_NCHW: Tensor, noise: Noise, seed: int) -> Tensor:
    """Probabilities (N, C) under input noise, dropout and stochastic depth; batch norm as in use. The paper's ablation:

    nothing but this benchmark may label so (tasks/core/predict.py).
    """
    gen, parts = torch.Generator().manual_seed(seed), []
    for module in net.modules():
        module.training = not isinstance(module, nn.BatchNorm2d)
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        parts = [net(augment(part, noise, gen)).softmax(dim=1) for part in torch.split(image_NCHW, BATCH)]
    net.eval()
    return torch.cat(parts)


def _kept(prob_NC: NDArray[Any], settings: params.Curate, split: Material) -> dict[str, Any]:
    """How many pool images are learnt from and how many of their labels are right; nothing depends on it."""
    rows = torch.arange(len(prob_NC))[:, None, None, None]
    kept = pseudo_examples(rows, prob_NC, settings, split.labeled.label_N)
    truth = split.pool.label_N[kept.image_NCHW.flatten()]
    right = (kept.target_NC.argmax(dim=1) == truth).float().mean().item() if len(truth) else None
    return {"labels_kept": len(truth), "labels_right": right and round(right, 4)}
