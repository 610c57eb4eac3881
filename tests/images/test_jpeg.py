"""Plain JPEG files are checked the short way: whatever it takes for sound, Pillow itself finds the same."""

import io

import numpy as np
import pytest
from PIL import Image

from tasks.images import check, decode
from tasks.images.check import Sound
from tasks.images.jpeg import plain_frame
from tests.images.hostile import changed

MOST = 1_000_000


def _encoded(side: tuple[int, int], mode: str = "RGB", **how: object) -> bytes:
    shape = (side[1], side[0]) if mode == "L" else (side[1], side[0], len(mode))
    pixel = np.random.default_rng(side[0]).integers(0, 256, shape, np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixel, mode).save(stream, "JPEG", **how)
    return stream.getvalue()


def _kinds() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "plain": _encoded((9, 7)),
        "grey": _encoded((8, 8), "L"),
        "progressive": _encoded((33, 17), progressive=True),
        "444": _encoded((16, 16), subsampling=0, quality=95),
        "restarts": _encoded((40, 40), restart_marker_rows=1),
        "comment": _encoded((8, 8), comment=b"hello"),
        "exif": _encoded((8, 8), exif=exif),
        "icc": _encoded((8, 8), icc_profile=b"x" * 200),
        "cmyk": _encoded((8, 8), "CMYK"),
        "large": _encoded((300, 300), quality=95),
        "large and progressive": _encoded((200, 150), progressive=True),
        "large and grey": _encoded((129, 301), "L"),
    }


@pytest.mark.parametrize("kind", _kinds())
def test_what_is_plain(kind: str) -> None:
    """Metadata, profiles and four components are left to Pillow; the rest has its mode and size in the header."""
    content = _kinds()[kind]
    with Image.open(io.BytesIO(content)) as image:
        wanted = None if kind in {"exif", "icc", "cmyk"} else (image.mode, image.width, image.height)
    assert plain_frame(content) == wanted


def test_the_short_way_takes_nothing_that_pillow_refuses() -> None:
    """Of 3,000 damaged files those that pass the short way pass the long one with the same verdict, and many do."""
    contents = [*_kinds().values(), *changed([*_kinds().values()], 3000, head=700)]
    short = [check._plain_jpeg(content, MOST) for content in contents]
    assert 500 < sum(one is not None for one in short) < 2500
    for content, one in zip(contents, short, strict=True):
        if one is not None:
            assert isinstance(one, Sound)
            assert check._decoded(content, "JPEG", MOST) == one


@pytest.mark.parametrize("kind", _kinds())
@pytest.mark.parametrize("size", [4, 8, 20])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_pixels(kind: str, size: int, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a net sees does not depend on the way: each pixel is the one of Pillow's own reading."""
    content = _kinds()[kind]
    short = decode.decode(content, size, channels, 255)
    monkeypatch.setattr(decode, "plain_frame", lambda content: None)
    np.testing.assert_array_equal(short, decode.decode(content, size, channels, 255))


def test_limits_and_missing_data_are_judged_the_long_way() -> None:
    """Too many pixels, and rows of the grey that stands for missing data, are refused with their reasons."""
    content = _encoded((64, 64))
    assert getattr(check.check(content, "a.jpg", 4095), "reason", None) == "too_large"
    assert isinstance(check.check(content, "a.jpg", 4096), Sound)
    for side in (64, 300):
        content = _encoded((side, side))
        cut = content[: len(content) // 2] + b"\xff\xd9"
        assert getattr(check.check(cut, "a.jpg", MOST), "reason", None) == "suspect_tail"
