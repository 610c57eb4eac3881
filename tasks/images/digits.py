"""Source `digits`: the 1,797 handwritten digits that come with scikit-learn (8x8 grey values from 0 to 16)."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tasks.images.record import Record, Source


def read(path: Path) -> Source:
    """All digits as PNG with their labels, in the order of the data set; `path` only tells DVC what to watch."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    pixel_NHW = np.rint(data.images * (255 / 16)).astype(np.uint8)
    return Source([str(name) for name in data.target_names], len(pixel_NHW), _records(pixel_NHW, data.target))


def _records(pixel_NHW: np.ndarray, label_N: np.ndarray) -> Iterator[Record]:
    for index, (pixel_HW, label) in enumerate(zip(pixel_NHW, label_N, strict=True)):
        stream = io.BytesIO()
        Image.fromarray(pixel_HW).save(stream, "PNG")
        yield Record(f"digits/{index:05d}.png", "digits", "labeled", str(label), stream.getvalue())
