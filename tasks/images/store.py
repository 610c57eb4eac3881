"""Reading data/images: pictures by id, decoded to the form a net sees. Shapes: N images, C channels, H x W pixels."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from tasks import files, params
from tasks.errors import Integrity
from tasks.images.cache import Cache, Part
from tasks.images.decode import decode
from tasks.images.plain import decode_plain
from tasks.images.wanted import Ids, Wanted, digests, places
from tasks.progress import Progress

BLOCK, BLOCK_BYTES, CHUNK = 1024, 32 * 2**20, 64  # images and bytes handed on at once; images a thread takes at once


class Images:
    """The images of a verified data/images. Of the encoded bytes only one part (at most 64 MiB) is in memory at a time.

    With `cache`, decoded images are kept under .work/decoded and read from there the next time (see cache.py).
    """

    def __init__(self, folder: Path, cache: params.Cache | None = None) -> None:
        self._folder = folder
        self._limit = int(cache.max_gb * 1e9) if cache else 0

    def load(self, ids: Ids, image: params.Image) -> Tensor:
        """All images of `ids` in their order, uint8 NCHW. Integrity names an id that is not there."""
        wanted = Wanted(ids)
        first_U, again, its_first = places(ids)
        pixel_NCHW = _empty(len(ids), image)
        with Progress(len(wanted), "reading", "images") as progress:
            for at_B, block_NCHW in self._blocks(wanted, image):
                pixel_NCHW[first_U[at_B]] = block_NCHW
                progress.advance(len(at_B))
        pixel_NCHW[again] = pixel_NCHW[its_first]
        return torch.from_numpy(pixel_NCHW)

    def batches(self, ids: Ids, image: params.Image, size: int) -> Iterator[tuple[list[str], Tensor]]:
        """The images of `ids`, each once, `size` at a time: their ids and uint8 NCHW, in the order of the parts.

        Every part is read once, however many images are wanted: the way through a pool that is larger than memory.
        The next batch is read while the caller works on this one, unless torch keeps every core busy: then there is no
        idle time to use.
        """
        batches = self._batches(Wanted(ids), image, size)
        return _ahead(batches) if has_idle_cores() else batches

    def _batches(self, wanted: Wanted, image: params.Image, size: int) -> Iterator[tuple[list[str], Tensor]]:
        left = len(wanted)
        at_N, pixel_NCHW, filled = np.empty(0, np.int64), _empty(0, image), 0
        for at_B, block_NCHW in self._blocks(wanted, image):
            taken = 0
            while taken < len(at_B):
                if filled == len(at_N):
                    at_N, pixel_NCHW, filled = np.empty(min(size, left), np.int64), _empty(min(size, left), image), 0
                count = min(len(at_B) - taken, len(at_N) - filled)
                at_N[filled : filled + count] = at_B[taken : taken + count]
                pixel_NCHW[filled : filled + count] = block_NCHW[taken : taken + count]
                taken, filled, left = taken + count, filled + count, left - count
                if filled == len(at_N):
                    yield wanted.names(at_N), torch.from_numpy(pixel_NCHW)

    def _blocks(self, wanted: Wanted, image: params.Image) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Wanted images as they lie in the parts, a block at a time: their places in `wanted` and uint8 NCHW."""
        parts = files.parts(self._folder)
        key_of = _keys(parts) if self._limit else {}
        cache = Cache(image, self._limit)
        everywhere = files.parts(files.IMAGES.parent) if self._limit else []  # other stages' parts stay
        cache.keep({*key_of.values(), *_keys(everywhere).values()})
        size = max(1, min(BLOCK, BLOCK_BYTES // (image.channels * image.size**2)))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for path in parts if len(wanted) else ():
                digest_P = digests(files.read_table(path, ["image_id"])["image_id"])
                row_R, at_R = wanted.claim(digest_P)
                if not len(row_R):
                    continue
                kept = cache.part(key_of[path], len(digest_P)) if path in key_of else None
                reader = _Reader(path, image, cache, kept, pool)
                for start in range(0, len(row_R), size):
                    yield at_R[start : start + size], reader.read(row_R[start : start + size])
        if missing := wanted.missing():
            what = f"{len(missing)} of {len(wanted)} images are not in {self._folder}; the first is {missing[0]}"
            raise Integrity("missing_image", what, f"rm -r {self._folder}, then `dvc repro`")


class _Reader:
    """Rows of one part: from the cache where it has them, else decoded. Encoded bytes are read when first needed."""

    def __init__(
        self, path: Path, image: params.Image, cache: Cache, kept: Part | None, pool: ThreadPoolExecutor
    ) -> None:
        self._path, self._image, self._cache, self._kept, self._pool = path, image, cache, kept, pool
        self._table: pa.Table | None = None

    def read(self, row_R: np.ndarray) -> np.ndarray:
        """uint8 [R, C, H, W] of ascending rows."""
        if self._kept is None:
            return self._decode(row_R)
        pixel_RCHW, is_good_R = self._kept.read(row_R)
        if not is_good_R.all():
            lacking = np.flatnonzero(~is_good_R)
            decoded = self._decode(row_R[lacking])
            self._cache.write(self._kept, row_R[lacking], decoded)
            pixel_RCHW[lacking] = decoded
        return pixel_RCHW

    def _decode(self, row_R: np.ndarray) -> np.ndarray:
        if self._table is None:
            self._table = files.read_table(self._path)
        return _decode_all(self._pool, self._table.take(pa.array(row_R)).to_pydict(), self._image)


def has_idle_cores() -> bool:
    """Whether cores are left for reading while a net computes: it runs on a GPU, or with fewer threads than cores."""
    return torch.cuda.is_available() or torch.get_num_threads() < (os.cpu_count() or 1)


def _ahead(batches: Iterator[tuple[list[str], Tensor]]) -> Iterator[tuple[list[str], Tensor]]:
    """The same, with the next one made in a thread meanwhile; torch and the decoders work without the GIL."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


def _keys(parts: list[Path]) -> dict[Path, str]:
    """sha256 of each part, by the commit record of its artefact, which was verified; a part in no record has none."""
    recorded: dict[Path, str] = {}
    for folder in {path.parent for path in parts}:
        if (folder / files.MANIFEST).is_file():
            entries = files.read_json(folder / files.MANIFEST)["files"]
            recorded |= {folder / name: str(entry["sha256"]) for name, entry in entries.items()}
    return {path: recorded[path] for path in parts if path in recorded}


def _empty(count: int, image: params.Image) -> np.ndarray:
    return np.empty((count, image.channels, image.size, image.size), np.uint8)


def _decode_all(pool: ThreadPoolExecutor, block: dict[str, list[Any]], image: params.Image) -> np.ndarray:
    pixel_NCHW = _empty(len(block["bytes"]), image)

    def fill(start: int) -> None:
        for row in range(start, min(start + CHUNK, len(pixel_NCHW))):
            try:
                content = block["bytes"][row]
                pixel = decode_plain(content, image.size, image.channels)
                if pixel is None:
                    pixel = decode(content, image.size, image.channels, image.background)
                pixel_NCHW[row] = pixel
            except Exception as error:
                what = f"image {block['image_id'][row]} was sound when ingested and cannot be decoded now: {error}"
                raise Integrity("undecodable", what, f"rm -r {files.IMAGES}, then `dvc repro`") from error

    list(pool.map(fill, range(0, len(pixel_NCHW), CHUNK)))
    return pixel_NCHW
