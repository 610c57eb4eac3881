"""Seeds as values: each random act has its own, and no act depends on another one having happened."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_of(seed: int, name: str, index: int) -> int:
    """A 63-bit seed of its own for each purpose and index, the same in every process."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name} {index}".encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """Seed torch's own generators, which dropout draws from, and put them back after; yields one for the images."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield torch.Generator().manual_seed(seed + 1)
