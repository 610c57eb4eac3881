"""The averaged net: the one that labels the pool and is evaluated."""

import torch
from torch import nn


@torch.no_grad()
def update(average: nn.Module, net: nn.Module, decay: float, step: int) -> None:
    """Move `average` towards `net` in place: average = d * average + (1 - d) * net.

    d = min(decay, (1 + step) / (10 + step)), as TensorFlow's moving average does, so that the random start is forgotten
    in short runs too. Weights and floating-point buffers (batch norm statistics) follow the same rule; whole-number
    buffers (counters) are copied. decay 0 makes the average equal to the net.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    averages, news = average.state_dict(), net.state_dict()
    moving = [name for name, value in averages.items() if value.is_floating_point()]
    torch._foreach_lerp_([averages[n] for n in moving], [news[n] for n in moving], weight)
    for name in averages.keys() - set(moving):
        averages[name].copy_(news[name])
