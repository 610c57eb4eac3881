"""A step taken in parts: one after the other (gradient accumulation), side by side in several processes, or both.

Every part is `1 / parts` of the step's images with random draws of its own, so what a step does follows from `parts`
alone: any number of processes that divides it gives the same net, but for the order in which floats are added up.
Batch norm sees one part at a time; its statistics become the mean over the parts.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Team:
    """The processes that train one net together; torchrun, or tasks/processes.py, starts them and their group."""

    def __init__(self, parts: int) -> None:
        """ValueError when the processes cannot share `parts` evenly."""
        self._together = dist.is_available() and dist.is_initialized()
        rank, count = (dist.get_rank(), dist.get_world_size()) if self._together else (0, 1)
        if parts % count:
            raise ValueError(f"{count} processes cannot share {parts} parts of a step evenly; set train.accumulate to "
                             f"a multiple of {count}")  # fmt: skip
        self.first, self.parts, self.mine = rank == 0, parts, range(rank, parts, count)

    def add_up(self, tensors: list[Tensor]) -> None:
        """Make each tensor, in place, its sum over all processes."""
        if not self._together:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view(tensor.shape))

    @contextmanager
    def statistics(self, net: nn.Module) -> Iterator[None]:
        """Run all parts inside, each in `apart`: buffers (batch norm statistics) end as their mean over the parts."""
        self._before = [buffer.clone() for buffer in net.buffers()] if self.parts > 1 else []
        self._sums = [torch.zeros_like(b) for b in self._before if b.is_floating_point()]
        yield
        if self._before:
            self.add_up(self._sums)
            moving = [buffer for buffer in net.buffers() if buffer.is_floating_point()]
            for buffer, total in zip(moving, self._sums, strict=True):
                buffer.copy_(total / self.parts)

    @contextmanager
    def apart(self, net: nn.Module) -> Iterator[None]:
        """One part: it starts from the buffers that the step began with."""
        if self._before:
            for buffer, before in zip(net.buffers(), self._before, strict=True):
                buffer.copy_(before)
        yield
        moving = [buffer for buffer in net.buffers() if buffer.is_floating_point()] if self._before else []
        for buffer, total in zip(moving, self._sums, strict=True):
            total.add_(buffer)
