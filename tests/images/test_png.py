"""Plain PNG files are checked the short way: whatever it takes for sound, Pillow itself finds the same."""

import io
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tasks.images import check, png
from tasks.images.check import Sound
from tests.images.hostile import changed

MOST = 1_000_000


def _encoded(side: tuple[int, int], mode: str = "RGB", **how: object) -> bytes:
    shape = (side[1], side[0], len(mode)) if len(mode) > 1 else (side[1], side[0])
    ramp = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)  # rows that make the encoder choose filters
    pixel = (ramp + np.random.default_rng(side[0]).integers(0, 9, shape)).astype(np.uint8)
    stream = io.BytesIO()
    image = Image.fromarray(pixel, mode) if mode != "P" else Image.fromarray(pixel).convert("P")
    image.save(stream, "PNG", **how)
    return stream.getvalue()


def _kinds() -> dict[str, bytes]:
    text, exif = PngImagePlugin.PngInfo(), Image.Exif()
    text.add_text("Comment", "hello")
    exif[0x0112] = 6
    return {
        "plain": _encoded((9, 7)),
        "grey": _encoded((8, 8), "L"),
        "alpha": _encoded((33, 17), "RGBA"),
        "grey alpha": _encoded((5, 40), "LA"),
        "dpi": _encoded((16, 16), dpi=(72, 72)),
        "uncompressed": _encoded((40, 40), compress_level=0),
        "large": _encoded((300, 200)),
        "text": _encoded((8, 8), pnginfo=text),
        "exif": _encoded((8, 8), exif=exif),
        "icc": _encoded((8, 8), icc_profile=b"x" * 200),
        "transparent colour": _encoded((8, 8), transparency=(1, 2, 3)),
        "palette": _encoded((8, 8), "P"),
    }


LONG = {"text", "exif", "icc", "transparent colour", "palette"}


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


def _built(rows: bytes, size: tuple[int, int] = (4, 3), between: bytes = b"", tail: bytes = b"") -> bytes:
    """A grey PNG of any rows, whose chunks are all intact."""
    header = size[0].to_bytes(4) + size[1].to_bytes(4) + bytes([8, 0, 0, 0, 0])
    data = zlib.compress(rows) + tail
    half = len(data) // 2
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", data[:half]) + between + _chunk(b"IDAT", data[half:])
    return png.SIGNATURE + chunks + _chunk(b"IEND", b"")


def _wrong_inside() -> Iterator[bytes]:
    """What no chunk's checksum shows: too few rows, too many, an unknown filter, a stream with something behind it."""
    rows = b"\0abcd" * 3
    yield _built(rows[:-1])
    yield _built(rows + b"e")
    yield _built(b"\5abcd" + rows[5:])
    yield _built(rows, tail=b"more")
    yield _built(rows, between=_chunk(b"tIME", bytes(7)))
    yield _built(rows, size=(0, 3))


def _repaired(content: bytes) -> bytes:
    """The same chunks with right checksums, as far as they can be followed."""
    out, at = content[:8], 8
    while at + 12 <= len(content) and at + 12 + (length := int.from_bytes(content[at : at + 4])) <= len(content):
        out += _chunk(content[at + 4 : at + 8], content[at + 8 : at + 8 + length])
        at += 12 + length
    return out + content[at:]


@pytest.mark.parametrize("kind", _kinds())
def test_what_is_plain(kind: str) -> None:
    """Metadata, profiles, palettes and transparent colours are left to Pillow; the rest is what Pillow says it is."""
    content = _kinds()[kind]
    short, long = check._plain_png(content, MOST), check._decoded(content, "PNG", MOST)
    assert isinstance(long, Sound)
    assert short == (None if kind in LONG else long)


def test_the_short_way_takes_nothing_that_pillow_refuses() -> None:
    """Of 3,000 damaged files, most with their checksums made right again, those that pass the short way pass the long

    one with the same verdict, and some do.
    """
    damaged = enumerate(changed([*_kinds().values()], 3000, head=120))
    mended = [_repaired(content) if number % 3 else content for number, content in damaged]
    contents = [*_kinds().values(), *mended, *_wrong_inside()]
    short = [check._plain_png(content, MOST) for content in contents]
    assert sum(one is not None for one in short) > 30
    for content, one in zip(contents, short, strict=True):
        if one is not None:
            assert check._decoded(content, "PNG", MOST) == one


def test_what_no_checksum_shows_is_left_to_pillow() -> None:
    """Rows that do not fill the image, an unknown filter, bytes behind the stream, a chunk between: the long way."""
    assert check._plain_png(_built(b"\0abcd" * 3), MOST) == Sound("PNG", "L", 4, 3, many_frames=False)
    assert [check._plain_png(content, MOST) for content in _wrong_inside()] == [None] * 6


def test_too_many_pixels_are_refused_before_they_are_inflated() -> None:
    """A bomb of a million rows in some kilobytes has its reason, and so has data of more rows than the header says."""
    bomb = _built(bytes(5 * 10**6), size=(4, 10**6))
    assert getattr(check.check(bomb, "a.png", 10**6), "reason", None) == "too_large"
    assert check._plain_png(_built(bytes(10**7)), MOST) is None
