"""How many images one source may bring. N pool images, B in a block, S sources."""

import numpy as np

from tasks.core.selection import PERSON, Counts, Groups, Keys, count_between, cut, each_block, histogram


def cap_sources(source_N: Groups, key_N: Keys, cap: float, threads: int = 1) -> None:
    """Negate, in place, the keys of a source beyond its cap: the least confident ones, the last ones of a tie.

    `cap` from 1 on is a number of images; below 1 it is the largest share that one source may have of those that pass
    the thresholds. What people labeled counts, and always stays. Not from a paper.
    """
    sources = int(source_N.max(initial=0)) + 1
    first = histogram(source_N, key_N, sources, 1, PERSON, threads)
    most = int(cap) if cap >= 1 else fair_cap(first.count_G, cap)
    human_S = count_between(source_N, key_N, sources, PERSON, PERSON, threads)
    edge = cut(source_N, key_N, first, np.maximum(np.minimum(first.count_G, most), human_S), threads)
    seen_S = np.zeros(sources, dtype=np.int64)
    for rows in each_block(len(key_N), 1, lambda rows: rows):
        key_B = key_N[rows]
        np.negative(key_B, out=key_B, where=(key_B > 0) & ~edge.takes(source_N[rows], key_B, seen_S))


def fair_cap(count_S: Counts, share: float) -> int:
    """The largest n with n <= share · Σ min(count, n): then no source has more than its share. 0 where none is."""
    low, high = 0, int(count_S.max(initial=0))
    while low < high:  # share · Σ min(count, n) - n is concave in n and 0 at 0, so it changes its sign once
        middle = (low + high + 1) // 2
        if middle <= share * int(np.minimum(count_S, middle).sum()):
            low = middle
        else:
            high = middle - 1
    return low
