"""Exact top-k of every group in one long column, without sorting it. Letters: N rows, G groups, B rows of a block.

A row's key is an int32 that orders as its confidence does: the bits of a positive float32 do. Keys lie above -2^31 +
2^23 and below 2^30; negative ones are never taken. The k-th largest key of
each group is found by a radix search: histograms of the leading bits, then of the next ones inside the bucket that
holds the k-th. Ties go to the first rows, so the answer is that of a stable sort, whatever the number of threads.
Memory beside the columns: G histograms, and a block of 2^18 rows for each thread.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int32]
Counts = NDArray[np.int64]
Groups = NDArray[np.integer[Any]]
T = TypeVar("T")

SURE = 0x3F800000  # the key of the confidence 1.0
PERSON = SURE + 1  # of a label that a person set
BLOCK = 1 << 18
CELLS = 18  # log2 of the cells of all histograms together: 2 MB, which a core's cache holds
NEVER = np.int32(1 << 30)  # above every key (1.0 has the bits 0x3f800000); key - NEVER cannot wrap to a small number


@dataclass(frozen=True, slots=True)
class Histogram:
    """Rows of each group by the leading bits of key - low; keys below `low` are not counted."""

    low: int
    span: int  # bits of key - low
    count_GK: Counts

    @property
    def count_G(self) -> Counts:
        """Rows of each group from `low` on."""
        total_G: Counts = self.count_GK.sum(axis=1)
        return total_G


@dataclass(frozen=True, slots=True)
class Cut:
    """Where each group is cut: every row with a larger key is in, and the first `ties_G` rows with the key itself."""

    key_G: Keys
    ties_G: Counts

    def takes(self, group_B: Groups, key_B: Keys, seen_G: Counts) -> NDArray[np.bool_]:
        """Which rows of the next block are in. `seen_G` counts the ties before it, and is moved on."""
        cut_B = self.key_G[group_B]
        taken_B: NDArray[np.bool_] = key_B > cut_B
        tie_K = np.flatnonzero(key_B == cut_B)
        tie_K = tie_K[self.ties_G[group_B[tie_K]] > 0]
        if len(tie_K):
            group_K = group_B[tie_K].astype(np.int64)
            order_K = np.argsort(group_K, kind="stable")
            sorted_K = group_K[order_K]
            count_G = np.bincount(group_K, minlength=len(seen_G))
            start_G = np.cumsum(count_G) - count_G
            rank_K = np.arange(len(tie_K)) - start_G[sorted_K] + seen_G[sorted_K]
            taken_B[tie_K[order_K]] = rank_K < self.ties_G[sorted_K]
            seen_G += count_G
        return taken_B


def histogram(group_N: Groups, key_N: Keys, groups: int, low: int, high: int, threads: int) -> Histogram:
    """Count the rows with low <= key <= high of each group, by the leading bits of key - low."""
    span = max((high - low).bit_length(), 1)
    bits = min(_bits(groups), span)
    low_G = np.full(groups, low, dtype=np.int32)
    return Histogram(low, span, _count(group_N, key_N, low_G, span, bits, threads))


def cut(group_N: Groups, key_N: Keys, first: Histogram, wanted_G: Counts, threads: int) -> Cut:
    """The cut that leaves the `wanted_G` largest keys of each group, or all where it has no more."""
    count_GK, span = first.count_GK, first.span
    all_G = wanted_G >= first.count_G
    open_G = (wanted_G > 0) & ~all_G
    low_G = np.where(open_G, np.int32(first.low), NEVER)
    left_G = np.where(open_G, wanted_G, 0).astype(np.int64)
    while open_G.any():
        shift = span - (count_GK.shape[1].bit_length() - 1)
        from_top_GK = count_GK[:, ::-1].cumsum(axis=1)
        bucket_G = (from_top_GK < left_G[:, None]).sum(axis=1)  # counted from the top: the one with the wanted row
        above_G = np.where(bucket_G > 0, np.take_along_axis(from_top_GK, bucket_G[:, None] - 1, axis=1)[:, 0], 0)
        left_G = np.where(open_G, left_G - above_G, 0)
        step_G = (count_GK.shape[1] - 1 - bucket_G) << shift
        low_G = np.where(open_G, low_G + step_G, NEVER).astype(np.int32)
        span = shift
        if span == 0:
            break
        count_GK = _count(group_N, key_N, low_G, span, min(_bits(len(low_G)), span), threads)
    return Cut(np.where(all_G, np.int32(first.low - 1), low_G).astype(np.int32), left_G)


def count_between(group_N: Groups, key_N: Keys, groups: int, low: int, high: int, threads: int) -> Counts:
    """Rows of each group with low <= key <= high."""

    def count(rows: slice) -> Counts:
        inside_B = (key_N[rows] >= low) & (key_N[rows] <= high)
        return np.bincount(group_N[rows][inside_B], minlength=groups)

    return sum(each_block(len(key_N), threads, count), start=np.zeros(groups, dtype=np.int64))


def each_block(rows: int, threads: int, work: Callable[[slice], T]) -> Iterator[T]:
    """`work` on every block of rows, in threads (numpy lets go of the GIL), results in order."""
    slices = [slice(start, min(start + BLOCK, rows)) for start in range(0, rows, BLOCK)]
    if threads == 1 or len(slices) < 2:
        yield from map(work, slices)
        return
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(slices), 2 * threads):  # no more results wait than that
            yield from pool.map(work, slices[start : start + 2 * threads])


def _bits(groups: int) -> int:
    return min(max(CELLS - groups.bit_length(), 4), 14)


def _count(group_N: Groups, key_N: Keys, low_G: Keys, span: int, bits: int, threads: int) -> Counts:
    """Rows of each group whose key lies in low..low + 2^span - 1, by the leading `bits` of key - low: (G, 2^bits)."""
    groups, same = len(low_G), bool((low_G == low_G[0]).all())

    def count(rows: slice) -> Counts:
        group_B = group_N[rows]
        above_B = key_N[rows] - (low_G[0] if same else low_G[group_B])  # below low: negative, so huge as uint32
        inside_B = above_B.view(np.uint32) < np.uint32(1 << span)
        cell_B = group_B[inside_B].astype(np.int64)
        cell_B <<= bits
        cell_B += above_B[inside_B] >> (span - bits)
        return np.bincount(cell_B, minlength=groups << bits)

    total = np.zeros(groups << bits, dtype=np.int64)
    for found in each_block(len(key_N), threads, count):
        total += found
    return total.reshape(groups, -1)
