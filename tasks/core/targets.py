"""What a net is told about a batch: what was stored of each image, or what is believed of it while it learns.

Each function here may be the `told` of a kind of images in tasks/core/train.py. A row of its answer may sum to less
than 1: the image then counts that much less in a cross entropy, and not at all where the row is 0. Letters: B batch, C
channels or classes, H height, W width.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from tasks.core.augment import Noise, augment


@dataclass(frozen=True, slots=True)
class Learner:
    """Who learns, and how far it is."""

    net: nn.Module
    average: nn.Module  # in eval mode
    done: float  # share of the steps


class Told(Protocol):
    """Targets (B, C) of images (uint8, not yet noised) of which `stored_BC` is on file."""

    def __call__(self, image_BCHW: Tensor, stored_BC: Tensor, learner: Learner, gen: torch.Generator) -> Tensor: ...


def as_stored(image_BCHW: Tensor, stored_BC: Tensor, learner: Learner, gen: torch.Generator) -> Tensor:
    """Noisy Student: what the teacher said once and for all, or a given label."""
    return stored_BC


def fixmatch(
    image_BCHW: Tensor, stored_BC: Tensor, learner: Learner, gen: torch.Generator, *, threshold: float, weak: Noise
) -> Tensor:
    """FixMatch (Sohn et al., arXiv:2001.07685), equation 4: the class that the net itself gives a weakly noised view,
    where it is sure of it; other images say nothing. The strongly noised view learns it. The net answers as it does in
    use (the authors' code leaves dropout and batch statistics on)."""
    prob_BC = _clean(learner.net, augment(image_BCHW, weak, gen))
    confidence_B, label_B = prob_BC.max(dim=1)
    return one_hot(label_B, prob_BC.shape[1]) * (confidence_B >= threshold)[:, None].float()


def mean_teacher(
    image_BCHW: Tensor, stored_BC: Tensor, learner: Learner, gen: torch.Generator, *, ramp: float, weak: Noise
) -> Tensor:
    """Mean teacher (Tarvainen & Valpola, arXiv:1703.01780): what the net's average over time believes of another view,
    with a weight that rises over the first `ramp` of all steps as exp(-5 (1 - t)^2). The paper's cost is the squared
    distance; here it is the cross entropy, whose gradient is that of the divergence it also tried."""
    weight = math.exp(-5 * (1 - min(learner.done / ramp, 1)) ** 2) if ramp else 1.0
    return weight * _clean(learner.average, augment(image_BCHW, weak, gen))


def weighted(
    image_BCHW: Tensor, stored_BC: Tensor, learner: Learner, gen: torch.Generator, *, told: Told, weight: float
) -> Tensor:
    """Another function's targets, counted `weight` times as much."""
    return weight * told(image_BCHW, stored_BC, learner, gen)


@torch.no_grad()
def _clean(net: nn.Module, image_BCHW: Tensor) -> Tensor:
    """Probabilities (B, C), float32, as in use; the net is left in the mode it was in."""
    modes = [(module, module.training) for module in net.modules()]
    prob_BC: Tensor = net.eval()(image_BCHW).float().softmax(dim=1)
    for module, training in modes:
        module.training = training
    return prob_BC
