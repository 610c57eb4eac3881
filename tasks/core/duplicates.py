"""Which images are copies of each other: candidates by hash, then a comparison of what the hash stands for.

Shapes: N images, P pairs. Rows are sorted by image_id, so that "first" always means the smallest id.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.fingerprints import vectors

CANDIDATE = 8  # bits: copies within the greatest distance of the settings differ in fewer (docs/decisions.md)
TINY, TINY_DISTANCE = 16, 0.08  # pixels; below, different handwriting is as alike as a poor copy
FLAT = 4.0  # grey levels: with less contrast, a copy cannot be told from another empty picture
AT_ONCE = 2**15  # pairs compared in one step: they fit in a processor's cache
BLOCK = 2**14  # pairs verified in one step

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Prints:
    """Fingerprints by row."""

    hash_N: NDArray[np.uint64]
    mirrored_N: NDArray[np.uint64]  # the hash of the mirror image
    thumb_NHW: NDArray[np.uint8]
    side_N: NDArray[np.int64]  # the shorter side in pixels


@dataclass(frozen=True, slots=True)
class Pairs:
    """Verified copies: `first_P` < `second_P`, sorted; how far apart, and whether one is the mirror image."""

    first_P: Rows
    second_P: Rows
    distance_P: NDArray[np.float64]
    mirrored_P: NDArray[np.bool_]


def find(prints: Prints, distance: float) -> Pairs:
    """All pairs of copies within `distance` (see `distances`).

    Images of equal hash are each compared with the first of them; only those that differ from it, and the first
    itself, are compared with images of other hashes: a thousand frames of one scene cost a thousand comparisons.
    """
    blocks = range(0, len(prints.thumb_NHW), BLOCK)
    contrast = [np.empty(0), *(_contrast(vectors(prints.thumb_NHW[start : start + BLOCK])) for start in blocks)]
    usable = np.flatnonzero(np.concatenate(contrast) >= FLAT)
    _, start, member = np.unique(prints.hash_N[usable], return_index=True, return_inverse=True)
    leader = usable[start[member]]
    same = _verified(prints, leader, usable, False, distance)
    copies = np.isin(usable, same.second_P)
    alone = usable[~copies]
    found = [same]
    for mirrored, other_N in ((False, prints.hash_N), (True, prints.mirrored_N)):
        for first, second in near(prints.hash_N[alone], other_N[alone], CANDIDATE):
            found.append(_verified(prints, alone[first], alone[second], mirrored, distance))
    return _merge(found)


def distances(prints: Prints, first_P: Rows, second_P: Rows, mirrored: bool) -> NDArray[np.float64]:
    """Root mean square difference of the smoothed thumbnails over the greater contrast: 0 = equal, 1.4 = unrelated."""
    one = vectors(prints.thumb_NHW[first_P])
    other = vectors(prints.thumb_NHW[second_P], np.full(len(second_P), mirrored))
    contrast_P = np.maximum(np.maximum(_contrast(one), _contrast(other)), FLAT)
    apart_P: NDArray[np.float64] = np.sqrt(((one - other) ** 2).sum(axis=1)) / contrast_P
    return apart_P


def near(hash_N: NDArray[np.uint64], other_N: NDArray[np.uint64], bits: int) -> Iterator[tuple[Rows, Rows]]:
    """Rows i < j whose hash_N[i] and other_N[j] differ in at most `bits` bits, each pair once, in blocks.

    Two hashes that differ in `bits` places agree in at least one of `bits` + 1 bands, so only rows that agree in a
    band are compared. The bits of a band lie far apart in the hash: neighbouring frequencies say much the same.
    """
    bands, mine, others = bits + 1, _spread(hash_N, bits + 1), _spread(other_N, bits + 1)
    edges = np.linspace(0, 64, bands + 1).astype(int)
    key_NB, other_NB = _keys(mine, edges), _keys(others, edges)
    with ThreadPoolExecutor() as pool:
        for band in range(bands):
            buckets = _buckets(key_NB[:, band], other_NB[:, band])
            for first, second in pool.map(lambda bucket: _close(mine, others, bucket, bits), buckets):
                is_new = ~(key_NB[first, :band] == other_NB[second, :band]).any(axis=1)
                if is_new.any():
                    yield first[is_new], second[is_new]


def groups(count: int, first_P: Rows, second_P: Rows) -> Rows:
    """For each of `count` rows the first row of its group: images that are linked by copies of copies."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(first_P), np.int8), (first_P, second_P)), shape=(count, count))
    _, group_N = connected_components(links, directed=False)
    _, first = np.unique(group_N, return_index=True)
    found: Rows = first[group_N].astype(np.int64)
    return found


def _contrast(vector_NF: NDArray[np.float64]) -> NDArray[np.float64]:
    contrast_N: NDArray[np.float64] = np.sqrt((vector_NF[:, 1:] ** 2).sum(axis=1))
    return contrast_N


def _verified(prints: Prints, first_P: Rows, second_P: Rows, mirrored: bool, distance: float) -> Pairs:
    blocks = [slice(start, start + BLOCK) for start in range(0, len(first_P), BLOCK)]
    return _merge([_verified_block(prints, first_P[b], second_P[b], mirrored, distance) for b in blocks])


def _verified_block(prints: Prints, first_P: Rows, second_P: Rows, mirrored: bool, distance: float) -> Pairs:
    side_P = np.minimum(prints.side_N[first_P], prints.side_N[second_P])
    allowed_P = np.where(side_P < TINY, min(distance, TINY_DISTANCE), distance)
    apart_P = distances(prints, first_P, second_P, mirrored)
    keep = (apart_P <= allowed_P) & (first_P != second_P)
    return Pairs(first_P[keep], second_P[keep], apart_P[keep], np.full(keep.sum(), mirrored))


def _merge(found: list[Pairs]) -> Pairs:
    """Sorted, each pair once: a symmetric image is its own mirror image and is found twice."""
    nothing = np.empty(0, np.int64)
    first = np.concatenate([nothing, *(p.first_P for p in found)])
    second = np.concatenate([nothing, *(p.second_P for p in found)])
    distance = np.concatenate([np.empty(0), *(p.distance_P for p in found)])
    mirrored = np.concatenate([np.empty(0, bool), *(p.mirrored_P for p in found)])
    order = np.lexsort((mirrored, distance, second, first))
    first, second = first[order], second[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return Pairs(first[fresh], second[fresh], distance[order][fresh], mirrored[order][fresh])


def _spread(hash_N: NDArray[np.uint64], bands: int) -> NDArray[np.uint64]:
    """The same bits in another order: bit k of the hash goes to band k modulo `bands`."""
    order = np.concatenate([np.arange(band, 64, bands) for band in range(bands)])
    bit_NF = np.unpackbits(hash_N.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    byte_N8 = np.ascontiguousarray(np.packbits(bit_NF[:, order], axis=1))
    spread_N: NDArray[np.uint64] = byte_N8.view(">u8").ravel().astype(np.uint64)
    return spread_N


def _keys(hash_N: NDArray[np.uint64], edges: NDArray[np.int64]) -> NDArray[np.uint64]:
    width = np.diff(edges)
    shift, mask = (64 - edges[1:]).astype(np.uint64), (2**width - 1).astype(np.uint64)
    key_NB: NDArray[np.uint64] = (hash_N[:, None] >> shift) & mask
    return key_NB


def _buckets(key_N: NDArray[np.uint64], other_N: NDArray[np.uint64]) -> Iterator[tuple[Rows, Rows]]:
    """Rows of both sides that agree in a band; the rows of a bucket stay in order."""
    order, other_order = np.argsort(key_N, kind="stable"), np.argsort(other_N, kind="stable")
    values = np.unique(key_N)
    ends = [
        np.searchsorted(k, values, side) for k in (key_N[order], other_N[other_order]) for side in ("left", "right")
    ]
    for low, high, other_low, other_high in zip(*ends, strict=True):
        if other_high > other_low:
            yield order[low:high], other_order[other_low:other_high]


def _close(
    hash_N: NDArray[np.uint64], other_N: NDArray[np.uint64], bucket: tuple[Rows, Rows], bits: int
) -> tuple[Rows, Rows]:
    """The pairs i < j of a bucket that differ in at most `bits` bits."""
    rows, other_rows = bucket
    mine, others = hash_N[rows], other_N[other_rows]
    found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    start = np.searchsorted(other_rows, rows, "right")  # i < j: the first row of the other side that comes after
    step = max(AT_ONCE // len(others), 1)
    differ, count = np.empty(step * len(others), np.uint64), np.empty(step * len(others), np.uint8)
    for top in range(0, len(mine), step):
        left = int(start[top])
        shape = len(mine[top : top + step]), len(others) - left
        size = shape[0] * shape[1]
        xor = np.bitwise_xor(mine[top : top + step, None], others[None, left:], out=differ[:size].reshape(shape))
        hit = np.flatnonzero(np.bitwise_count(xor.ravel(), out=count[:size]) <= bits)
        if len(hit):
            i, j = np.divmod(hit, shape[1])
            first, second = rows[top + i], other_rows[left + j]
            later = first < second
            found.append((first[later], second[later]))
    return np.concatenate([f for f, _ in found]), np.concatenate([s for _, s in found])
