"""The quick decoder is either exactly `decode`, or it declines."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.images.decode import decode
from tasks.images.plain import decode_plain
from tests.images.workspace import SUFFIX, picture


def _jpeg(seed: int, mode: str = "RGB", side: int = 16, **options: Any) -> bytes:
    bands = len(Image.new(mode, (1, 1)).getbands())
    rough_HWC = np.random.default_rng(seed).integers(0, 256, (4, 4, bands), np.uint8)
    stream = io.BytesIO()
    image = Image.fromarray(rough_HWC.squeeze(), mode=None if mode != "CMYK" else mode)
    image.resize((side, side), Image.Resampling.BICUBIC).save(stream, "JPEG", **options)
    return stream.getvalue()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    quality=st.integers(5, 100),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    progressive=st.booleans(),
    grey=st.booleans(),
    side=st.sampled_from([9, 16, 31, 64]),
)
def test_same_pixels(seed: int, quality: int, subsampling: str, progressive: bool, grey: bool, side: int) -> None:
    """Every kind of plain JPEG, odd sides included, comes out as from `decode`, byte for byte."""
    content = _jpeg(
        seed, "L" if grey else "RGB", side, quality=quality, subsampling=subsampling, progressive=progressive
    )
    channels = 1 if grey else 3
    quick = decode_plain(content, side, channels)
    assert quick is not None
    assert np.array_equal(quick, decode(content, side, channels, 0))


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _jpeg(1, exif=exif)


@pytest.mark.parametrize(
    ("content", "size", "channels"),
    [
        (_turned(), 16, 3),
        (_jpeg(1, "CMYK"), 16, 3),
        (_jpeg(1), 15, 3),
        (_jpeg(1), 16, 1),
        (_jpeg(1, "L"), 16, 3),
        (_jpeg(1)[:30], 16, 3),
        (b"", 16, 3),
        (b"\xff\xd8\xff", 16, 3),
        *((picture(1, name, 16), 16, 3) for name in SUFFIX if name != "JPEG"),
    ],
)
def test_what_is_not_plain_is_left_to_decode(content: bytes, size: int, channels: int) -> None:
    """A turned, four-coloured, other-sized or other-format image is none of its business."""
    assert decode_plain(content, size, channels) is None
