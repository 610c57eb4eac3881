"""The training loop of Noisy Student (Xie et al., arXiv:1911.04252): teacher, baseline and student in one.

Read `train` top to bottom. Letters: N images, B batch, C channels or classes, H height, W width.
"""

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from tasks.core import ema
from tasks.core.augment import Noise, augment
from tasks.core.batches import Epochs, Examples
from tasks.core.loss import cross_entropy
from tasks.core.mix import mix
from tasks.core.optimizer import descend, sgd
from tasks.core.precision import Device, Precision, device_of, mixed
from tasks.core.randomness import seed_of, seeded
from tasks.core.schedule import learning_rate
from tasks.core.snapshot import State, restore, snapshot
from tasks.core.stopping import Stopping, Validation
from tasks.core.targets import Learner, Told, as_stored
from tasks.core.team import Team
from tasks.core.tuning import ALIKE, Tuning, let_go

__all__ = ["Examples", "Loss", "Recipe", "State", "Validation", "train"]
Loss = Callable[[Tensor, Tensor], Tensor]  # logits (B, C) and targets (B, C) to a scalar


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a net learns."""

    steps: int
    batch: int  # labeled images per step
    ratio: int  # pseudo-labeled images per labeled image in a step
    lr: float  # peak
    momentum: float
    weight_decay: float
    warmup: int  # steps to the peak; a cosine to 0 follows
    ema: float  # decay of the averaged net, weights and batch norm statistics alike; 0 = off
    label_smoothing: float  # of the labeled loss; soft pseudo-labels get none
    clip: float  # largest norm of the gradient; 0 = off
    accumulate: int = 1  # equal parts a step's images are taken in, which processes may share
    precision: Precision = "float32"
    compile: bool = False  # torch.compile
    device: Device = "cpu"
    tuning: Tuning = ALIKE  # of a net that has learnt something before


@dataclass(frozen=True, slots=True)
class Kind:
    """Labeled or pseudo-labeled images: which come next, what is told of them, what an answer costs."""

    epochs: Epochs
    told: Told
    loss: Loss


def train(
    net: nn.Module,
    labeled: Examples,
    pseudo: Examples | None,
    recipe: Recipe,
    noise: Noise,
    seed: int,
    *,
    of_labeled: Loss | None = None,
    of_pseudo: Loss = cross_entropy,
    told: Told = as_stored,
    validation: Validation | None = None,
    state: State | None = None,
    save: Callable[[State], None] | None = None,
    save_every: int = 0,
    log: Callable[[dict[str, float]], None] | None = None,
    log_every: int = 20,
) -> nn.Module:
    """Train `net` in place and return its average over time, in eval mode, on the CPU.

    A step takes `batch` labeled and `ratio * batch` pseudo-labeled images, both noised, through one forward pass (or
    through one for each of `accumulate` parts). The loss is the mean over all of them, (labeled + ratio * pseudo) /
    (1 + ratio). The two means are weighted against each other as in Noisy Student's code, which counts every image
    alike (the paper's text adds two plain means); dividing by 1 + ratio lets one learning rate serve teacher and
    student. Without `pseudo` this is supervised training. The losses are cross entropies, of labeled images with the
    recipe's smoothing, unless others are given; `told` says what to learn of pseudo-labeled images
    (tasks/core/targets.py). With `validation` training may end early; then the average is the one
    that did best on those images.

    Everything random in a step follows from (seed, step, part), so that a run continued from the `state` that `save`
    received ends with the same bits, given the same machine and thread count. `log` gets step, loss, loss_labeled,
    loss_pseudo (with pseudo), loss_validation (when it was looked at), lr, images_per_s. In a process group of torch
    every process calls this with the same arguments and returns the same net; the first one saves and logs.
    FloatingPointError when the loss is not finite.
    """
    device, team, stopping = device_of(recipe.device), Team(recipe.accumulate), Stopping(validation, state)
    net = net.to(device).to(memory_format=torch.channels_last).train()
    average, forward = deepcopy(net).eval(), torch.compile(net) if recipe.compile else net
    optimizer = sgd(net, recipe.lr, recipe.momentum, recipe.weight_decay, recipe.tuning)
    done = start = restore(state, net, average, optimizer) if state else 0
    smoothed = partial(cross_entropy, smoothing=recipe.label_smoothing)
    kinds = [Kind(Epochs(labeled, recipe.batch, seed, "labeled"), as_stored, of_labeled or smoothed)]
    if pseudo:
        kinds += [Kind(Epochs(pseudo, recipe.batch * recipe.ratio, seed, "pseudo"), told, of_pseudo)]
    began = time.perf_counter()

    while done < recipe.steps and not stopping.over:
        step, shown = done, torch.zeros(1 + len(kinds))
        net.zero_grad()
        let_go(net, recipe.tuning, step)
        with team.statistics(net):
            for part in team.mine:
                batches = [kind.epochs.batch(step, part, team.parts, device) for kind in kinds]
                sizes, learner = [len(image) for image, _ in batches], Learner(net, average, step / recipe.steps)
                with team.apart(net), seeded(_seed(seed, step, part), device) as gen, mixed(recipe.precision, device):
                    targets = [kind.told(*batch, learner, gen) for kind, batch in zip(kinds, batches, strict=True)]
                    image_BCHW = augment(torch.cat([image for image, _ in batches]), noise, gen)
                    image_BCHW, targets = mix(image_BCHW, targets, noise.mixup, noise.cutmix, gen)
                    logit_BC = forward(image_BCHW.to(memory_format=torch.channels_last)).float()
                logits = torch.split(logit_BC, sizes)
                losses = [kind.loss(*pair) for kind, *pair in zip(kinds, logits, targets, strict=True)]
                loss = (losses[0] + recipe.ratio * losses[1]) / (1 + recipe.ratio) if pseudo else losses[0]
                torch.autograd.backward(loss / team.parts)
                shown += torch.stack([loss, *losses]).detach().cpu() / team.parts
        team.add_up([shown, *(p.grad for p in net.parameters() if p.grad is not None)])
        _refuse_if_not_finite(shown[0].item(), step, recipe)

        lr = learning_rate(step, recipe.steps, recipe.warmup, recipe.lr)
        descend(net, optimizer, lr, recipe.clip)
        ema.update(average, net, recipe.ema, step)
        done += 1
        looked = stopping.look(average, done)

        if log and team.first and (done % log_every == 0 or done == recipe.steps or looked):
            rate = (done - start) * recipe.batch * (1 + recipe.ratio) / (time.perf_counter() - began)
            row = dict(zip(("loss", "loss_labeled", "loss_pseudo"), shown.tolist(), strict=False))
            log({"step": done, **row, **looked, "lr": lr, "images_per_s": rate})
        if save and team.first and save_every and done % save_every == 0 and done < recipe.steps:
            save(snapshot(done, net, average, optimizer, stopping.state()))
    return stopping.best(average).to("cpu").to(memory_format=torch.contiguous_format)


def _seed(seed: int, step: int, part: int) -> int:
    """The seed of all that is drawn for a part of a step."""
    return seed_of(seed, f"step part {part}" if part else "step", step)


def _refuse_if_not_finite(loss: float, step: int, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the loss is {loss} at step {step} of {recipe.steps}; "
            f"lower train.lr ({recipe.lr}), lengthen train.warmup ({recipe.warmup}) "
            f"or set train.clip ({recipe.clip}) to 1"
        )
