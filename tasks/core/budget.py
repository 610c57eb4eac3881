"""How a budget of looks is spent: several ranked lists mixed by weight, and a random slice that estimates without bias.

Rows are numbers from 0 to N - 1. Whoever works off a queue's head has seen each list and the slice in proportion.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RANDOM = "random"
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Queue:
    """Rows in the order in which to look at them, each with the list it stands for."""

    row_B: Rows
    reason_B: list[str]


def mix(
    lists: Mapping[str, Rows], weights: Mapping[str, float], N: int, budget: int, slice_: float, seed: int
) -> Queue:
    """Exactly min(budget, N) rows, none twice.

    The slice, a share of the queue (rounded up), is drawn first and uniformly from all N rows, whatever the lists say
    of them: its share of errors is that of all rows. The lists, each ranked, get the rest in proportion to their
    weights; a row that was taken is passed over, and what an exhausted list leaves goes to the others. The last list
    has all rows.
    """
    if not lists or len(list(lists.values())[-1]) != N:
        raise ValueError("the last list must rank every row, or a budget could not be spent")
    size = min(budget, N)
    drawn = np.random.default_rng(seed).permutation(N)[: int(np.ceil(slice_ * size))]
    chosen = _by_weight(lists, weights, set(drawn.tolist()), size - len(drawn))
    at_random = set(np.floor((np.arange(len(drawn)) + 0.5) * size / max(len(drawn), 1)).astype(int).tolist())
    random, others = iter(drawn.tolist()), iter(chosen)
    queue = [(next(random), RANDOM) if place in at_random else next(others) for place in range(size)]
    return Queue(np.array([row for row, _ in queue], np.int64), [reason for _, reason in queue])


def _by_weight(
    lists: Mapping[str, Rows], weights: Mapping[str, float], taken: set[int], count: int
) -> list[tuple[int, str]]:
    """The next row of the list that is furthest behind its share, until `count` are found; earlier lists win ties."""
    left = {name: iter(rows.tolist()) for name, rows in lists.items() if weights[name] > 0 and len(rows)}
    left = left or {name: iter(rows.tolist()) for name, rows in list(lists.items())[-1:]}
    has = dict.fromkeys(left, 0)
    found: list[tuple[int, str]] = []
    while len(found) < count:
        name = min(left, key=lambda name: (has[name] + 1) / (weights[name] or 1))
        row = next((row for row in left[name] if row not in taken), None)
        if row is None:
            del left[name]
            if not left:  # the list that has every row may have a weight of 0
                last = list(lists)[-1]
                left, has = {last: iter(lists[last].tolist())}, {last: 0}
            continue
        taken.add(row)
        has[name] += 1
        found.append((row, name))
    return found
