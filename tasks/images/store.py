"""Reading data/images: pictures by id, decoded to the form a net sees. Shapes: N images, C channels, H x W pixels."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from tasks import files, params
from tasks.errors import Integrity
from tasks.images.decode import decode
from tasks.progress import Progress

BLOCK, CHUNK = 1024, 64  # images decoded before they are handed on; images a thread takes at once


class Images:
    """The images of a verified data/images. Of the encoded bytes only one part (at most 64 MiB) is in memory at a time.

    Pillow decodes without holding the GIL, so threads do.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, ids: Sequence[str], image: params.Image) -> Tensor:
        """All images of `ids` in their order, uint8 NCHW. Integrity names an id that is not there."""
        row_of = {image_id: row for row, image_id in enumerate(dict.fromkeys(ids))}
        pixel_NCHW = _empty(len(row_of), image)
        with Progress(len(row_of), "reading", "images") as progress:
            for found, block_NCHW in self._blocks(list(row_of), image):
                pixel_NCHW[[row_of[image_id] for image_id in found]] = block_NCHW
                progress.advance(len(found))
        if len(row_of) < len(ids):
            pixel_NCHW = pixel_NCHW[[row_of[image_id] for image_id in ids]]
        return torch.from_numpy(pixel_NCHW)

    def batches(self, ids: Sequence[str], image: params.Image, size: int) -> Iterator[tuple[list[str], Tensor]]:
        """The images of `ids`, each once, `size` at a time: their ids and uint8 NCHW, in the order of the parts.

        Every part is read once, however many images are wanted: the way through a pool that is larger than memory.
        """
        waiting, pixel_NCHW = list[str](), _empty(0, image)
        for found, block_NCHW in self._blocks(ids, image):
            waiting, pixel_NCHW = waiting + found, np.concatenate([pixel_NCHW, block_NCHW])
            while len(waiting) >= size:
                yield waiting[:size], torch.from_numpy(pixel_NCHW[:size])
                waiting, pixel_NCHW = waiting[size:], pixel_NCHW[size:]
        if waiting:
            yield waiting, torch.from_numpy(pixel_NCHW)

    def _blocks(self, ids: Sequence[str], image: params.Image) -> Iterator[tuple[list[str], np.ndarray]]:
        """Wanted images as they lie in the parts, at most BLOCK at a time: ids and uint8 NCHW."""
        wanted, missing = pa.array(sorted(set(ids)), pa.string()), set(ids)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for path in files.parts(self._folder):
                is_wanted = pc.is_in(files.read_table(path, ["image_id"])["image_id"], wanted)
                if not pc.any(is_wanted).as_py():
                    continue
                chosen = files.read_table(path).filter(is_wanted)
                for start in range(0, chosen.num_rows, BLOCK):
                    block = _first_time(chosen.slice(start, BLOCK), missing)
                    missing.difference_update(block["image_id"])
                    yield block["image_id"], _decode_all(pool, block, image)
        if missing:
            what = f"{len(missing)} of {len(wanted)} images are not in {self._folder}; the first is {min(missing)}"
            raise Integrity("missing_image", what, f"rm -r {self._folder}, then `dvc repro`")


def _first_time(block: pa.Table, missing: set[str]) -> dict[str, list[Any]]:
    """The rows of a block that no source before it had: two sources may hold the same image."""
    is_new = [image_id in missing for image_id in block["image_id"].to_pylist()]
    return block.filter(pa.array(is_new)).to_pydict() if not all(is_new) else block.to_pydict()


def _empty(count: int, image: params.Image) -> np.ndarray:
    return np.empty((count, image.channels, image.size, image.size), np.uint8)


def _decode_all(pool: ThreadPoolExecutor, block: dict[str, list[Any]], image: params.Image) -> np.ndarray:
    pixel_NCHW = _empty(len(block["bytes"]), image)

    def fill(start: int) -> None:
        for row in range(start, min(start + CHUNK, len(pixel_NCHW))):
            try:
                pixel_NCHW[row] = decode(block["bytes"][row], image.size, image.channels, image.background)
            except Exception as error:
                what = f"image {block['image_id'][row]} was sound when ingested and cannot be decoded now: {error}"
                raise Integrity("undecodable", what, f"rm -r {files.IMAGES}, then `dvc repro`") from error

    list(pool.map(fill, range(0, len(pixel_NCHW), CHUNK)))
    return pixel_NCHW
