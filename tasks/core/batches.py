"""Which images a training step sees. Letters: N images, M entries of an epoch, B batch, C channels or classes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.core.randomness import seed_of


@dataclass(frozen=True, slots=True)
class Examples:
    """Images with what is believed about them."""

    image_NCHW: Tensor  # uint8
    target_NC: Tensor  # float32, rows sum to 1; one-hot is a hard label
    copies_N: Tensor  # int64, how often the image stands in an epoch

    def rows(self, chosen: Tensor) -> "Examples":
        """Some of them, by row numbers or a mask."""
        return Examples(self.image_NCHW[chosen], self.target_NC[chosen], self.copies_N[chosen])


class Epochs:
    """An endless row of shuffled epochs, cut into batches; batch `step` is the same whenever it is asked for."""

    def __init__(self, examples: Examples, size: int, seed: int, name: str) -> None:
        self._examples, self._size, self._seed, self._name = examples, size, seed, name
        self._entry_M = torch.repeat_interleave(examples.copies_N)
        self._shuffled: tuple[int, Tensor] = (-1, self._entry_M)
        if not len(self._entry_M):
            raise ValueError(f"there is no {name} image to learn from: all {len(examples.copies_N)} have 0 copies")

    def batch(self, step: int, part: int, parts: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and targets (B, C) of one of the equal parts of a step."""
        M, size = len(self._entry_M), self._size // parts
        first = step * self._size + part * size
        last = first + size
        pieces = [
            self._epoch(epoch)[max(first - epoch * M, 0) : last - epoch * M]
            for epoch in range(first // M, (last - 1) // M + 1)
        ]
        index_B = torch.cat(pieces)
        return self._examples.image_NCHW[index_B].to(device), self._examples.target_NC[index_B].to(device)

    def _epoch(self, epoch: int) -> Tensor:
        if self._shuffled[0] != epoch:
            gen = torch.Generator().manual_seed(seed_of(self._seed, self._name, epoch))
            self._shuffled = epoch, self._entry_M[torch.randperm(len(self._entry_M), generator=gen)]
        return self._shuffled[1]
