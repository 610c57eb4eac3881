"""The training loop of Noisy Student (Xie et al., arXiv:1911.04252): teacher, baseline and student in one.

Read `train` top to bottom. Letters: N images, B batch, C channels or classes, H height, W width.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from tasks.core import ema
from tasks.core.augment import Noise, augment
from tasks.core.loss import cross_entropy
from tasks.core.schedule import learning_rate

State = dict[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]  # logits (B, C) and targets (B, C) to a scalar


@dataclass(frozen=True, slots=True)
class Examples:
    """Images with what is believed about them."""

    image_NCHW: Tensor  # uint8
    target_NC: Tensor  # float32, rows sum to 1; one-hot is a hard label
    copies_N: Tensor  # int64, how often the image stands in an epoch


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
    state: State | None = None,
    save: Callable[[State], None] | None = None,
    save_every: int = 0,
    log: Callable[[dict[str, float]], None] | None = None,
    log_every: int = 20,
) -> nn.Module:
    """Train `net` in place and return its average over time, in eval mode.

    A step takes `batch` labeled and `ratio * batch` pseudo-labeled images, both noised, through one forward pass. The
    loss is the mean over all of them, (labeled + ratio * pseudo) / (1 + ratio). The two means are weighted against each
    other as in Noisy Student's code, which counts every image alike (the paper's text adds two plain means); dividing
    by 1 + ratio lets one learning rate serve teacher and student. Without `pseudo` this is supervised training. The
    losses are cross entropies, of labeled images with the recipe's smoothing, unless others are given.

    Everything random in a step follows from (seed, step), so that a run continued from the `state` that `save` received
    ends with the same bits, given the same machine and thread count. `log` gets step, loss, loss_labeled, loss_pseudo
    (with pseudo), lr, images_per_s of one step. FloatingPointError when the loss is not finite.
    """
    device = next(net.parameters()).device
    net = net.to(memory_format=torch.channels_last).train()
    average = deepcopy(net).eval()
    optimizer = _optimizer(net, recipe)
    start = _restore(state, net, average, optimizer) if state else 0
    batches = [_Epochs(labeled, recipe.batch, seed, "labeled")]
    batches += [_Epochs(pseudo, recipe.batch * recipe.ratio, seed, "pseudo")] if pseudo else []
    of_labeled = of_labeled or partial(cross_entropy, smoothing=recipe.label_smoothing)
    began = time.perf_counter()

    for step in range(start, recipe.steps):
        images, targets = zip(*(epochs.batch(step) for epochs in batches), strict=True)
        with _seeded(_hash(seed, "step", step), device) as gen:
            image_BCHW = augment(torch.cat(images), noise, gen).to(device, memory_format=torch.channels_last)
            logits = net(image_BCHW).float().split([len(image) for image in images])
        loss_labeled = of_labeled(logits[0], targets[0].to(device))
        loss, parts = loss_labeled, {"loss_labeled": loss_labeled.item()}
        if pseudo:
            loss_pseudo = of_pseudo(logits[1], targets[1].to(device))
            loss = (loss_labeled + recipe.ratio * loss_pseudo) / (1 + recipe.ratio)
            parts["loss_pseudo"] = loss_pseudo.item()
        _refuse_if_not_finite(loss.item(), step, recipe)

        lr = learning_rate(step, recipe.steps, recipe.warmup, recipe.lr)
        _descend(net, optimizer, loss, lr, recipe.clip)
        ema.update(average, net, recipe.ema, step)

        done = step + 1
        if log and (done % log_every == 0 or done == recipe.steps):
            speed = (done - start) * len(image_BCHW) / (time.perf_counter() - began)
            log({"step": done, "loss": loss.item(), **parts, "lr": lr, "images_per_s": speed})
        if save and save_every and done % save_every == 0 and done < recipe.steps:
            save(_state(done, net, average, optimizer))
    return average.to(memory_format=torch.contiguous_format)


def _descend(net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, lr: float, clip: float) -> None:
    """One step of the optimizer, with gradients of a norm of at most `clip` where that is not 0."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if clip:
        nn.utils.clip_grad_norm_(net.parameters(), clip)
    optimizer.step()


class _Epochs:
    """An endless row of shuffled epochs, cut into batches; batch `step` is the same whenever it is asked for."""

    def __init__(self, examples: Examples, size: int, seed: int, name: str) -> None:
        self._examples, self._size, self._seed, self._name = examples, size, seed, name
        self._entry_M = torch.repeat_interleave(examples.copies_N)
        self._shuffled: tuple[int, Tensor] = (-1, self._entry_M)
        if not len(self._entry_M):
            raise ValueError(f"there is no {name} image to learn from: all {len(examples.copies_N)} have 0 copies")

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and targets (B, C) of a step."""
        M = len(self._entry_M)
        first, last = step * self._size, (step + 1) * self._size
        parts = [
            self._epoch(epoch)[max(first - epoch * M, 0) : last - epoch * M]
            for epoch in range(first // M, (last - 1) // M + 1)
        ]
        index_B = torch.cat(parts)
        return self._examples.image_NCHW[index_B], self._examples.target_NC[index_B]

    def _epoch(self, epoch: int) -> Tensor:
        if self._shuffled[0] != epoch:
            gen = torch.Generator().manual_seed(_hash(self._seed, self._name, epoch))
            self._shuffled = epoch, self._entry_M[torch.randperm(len(self._entry_M), generator=gen)]
        return self._shuffled[1]


def _hash(seed: int, name: str, index: int) -> int:
    """A 63-bit seed of its own for each purpose and index, the same in every process."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name} {index}".encode()).digest()[:8], "big") >> 1


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """Seed torch's own generators, which dropout draws from, and put them back after; yields one for the images."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield torch.Generator().manual_seed(seed + 1)


def _optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """SGD with Nesterov momentum; decay on convolution and linear weights, not on biases and norms."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def _refuse_if_not_finite(loss: float, step: int, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the loss is {loss} at step {step} of {recipe.steps}; "
            f"lower train.lr ({recipe.lr}), lengthen train.warmup ({recipe.warmup}) "
            f"or set train.clip ({recipe.clip}) to 1"
        )


def _state(step: int, net: nn.Module, average: nn.Module, optimizer: torch.optim.SGD) -> State:
    """All that a later process needs to go on after `step` steps, as one flat dict of contiguous copies."""
    momentum = {name: optimizer.state[p].get("momentum_buffer") for name, p in net.named_parameters()}
    flat = {f"net.{name}": value for name, value in net.state_dict().items()}
    flat |= {f"average.{name}": value for name, value in average.state_dict().items()}
    flat |= {f"momentum.{name}": value for name, value in momentum.items() if value is not None}
    copies = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in flat.items()}
    return copies | {"step": torch.tensor(step)}


def _restore(state: State, net: nn.Module, average: nn.Module, optimizer: torch.optim.SGD) -> int:
    """Undo `_state`; returns the number of steps done."""
    for prefix, module in (("net.", net), ("average.", average)):
        module.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    for name, p in net.named_parameters():
        if f"momentum.{name}" in state:
            optimizer.state[p]["momentum_buffer"] = torch.empty_like(p).copy_(state[f"momentum.{name}"])
    return int(state["step"])
