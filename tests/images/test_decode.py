"""What a net sees of an encoded image, and what is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.images.check import Sound, check
from tasks.images.decode import decode
from tasks.images.record import Refusal
from tasks.images.sniff import FORMATS, SUFFIXES, sniff, wrong_extension
from tests.images.workspace import picture

LIMIT = 1_000_000


def _encoded(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def _png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"


def _reason(content: bytes, path: str = "a.jpg") -> str:
    verdict = check(content, path, LIMIT)
    assert isinstance(verdict, Refusal)
    return verdict.reason


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("named", FORMATS)
def test_content_decides_and_a_wrong_name_is_noted(format_: str, named: str) -> None:
    """Each format is taken in under each name; only a name of another format counts as wrong."""
    path = "a" + sorted(SUFFIXES[named])[0].upper()
    verdict = check(picture(0, format_), path, LIMIT)
    assert isinstance(verdict, Sound)
    assert (verdict.format, verdict.width, verdict.height) == (format_, 8, 8)
    assert wrong_extension(path, format_) == (format_ != named)
    assert not wrong_extension("no_suffix", format_)


@pytest.mark.parametrize("format_", ["JPEG2000", "PDF", "EPS", "ICO", "AVIF"])
def test_no_parser_runs_for_other_formats(format_: str) -> None:
    """A format outside the six is refused by its first bytes, whatever its name says."""
    content = _encoded(Image.new("RGB", (16, 16)), format_)
    refusal = sniff(content[:16], "a.jpg")
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "format_not_allowed"


@pytest.mark.parametrize(
    ("content", "path", "reason"),
    [
        (b"", "a.jpg", "empty_file"),
        (b"hello, world, here is text", "a.jpg", "not_an_image"),
        (b"hello, world, here is text", "a.txt", "format_not_allowed"),
        (_png_header(100_000, 100_000), "a.png", "too_large"),
        (_encoded(Image.new("1", (1001, 1000))), "a.png", "too_large"),
        (picture(0, "JPEG", 64)[:900], "a.jpg", "truncated"),
        (picture(0, "PNG", 64)[:900], "a.png", "truncated"),
        (b"\xff\xd8\xff\xe0 and no more", "a.jpg", "truncated"),
        (b"\x89PNG\r\n\x1a\n and something else", "a.png", "decode_error"),
    ],
)
def test_reasons(content: bytes, path: str, reason: str) -> None:
    """Every kind of bad file has its own reason, and a size is believed before a pixel is decoded."""
    assert _reason(content, path) == reason


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damage_never_escapes(format_: str, data: st.DataObject) -> None:
    """Whatever happens to its bytes, an image is refused with a reason or decodes; nothing is raised."""
    content = bytearray(picture(1, format_, 24))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(content[: data.draw(st.integers(0, len(content)))])
    verdict = check(damaged, "a.jpg", LIMIT)
    if isinstance(verdict, Refusal):
        assert verdict.reason
        assert "0x" not in verdict.detail, "an address in memory would differ from run to run"
    else:
        assert decode(damaged, 8, 3, 255).shape == (3, 8, 8)


@pytest.mark.parametrize("format_", FORMATS)
def test_cut_files_are_refused(format_: str) -> None:
    """A file cut at any tenth of its length is no image."""
    content = picture(2, format_, 64)
    for tenth in range(10):
        assert isinstance(check(content[: len(content) * tenth // 10], "a.jpg", LIMIT), Refusal)


def test_orientation_is_applied() -> None:
    """The eight EXIF orientations of one picture look the same to a net."""
    upright = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation -> Image.Transpose that makes the stored picture
    for orientation in range(1, 9):
        stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
        exif = Image.Exif()
        exif[0x0112] = orientation
        np.testing.assert_array_equal(
            decode(_encoded(stored, exif=exif), 8, 3, 255), np.asarray(upright).transpose(2, 0, 1)
        )


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    """A 16-bit ramp becomes an 8-bit ramp."""
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    seen = decode(_encoded(Image.fromarray(ramp)), 8, 1, 255)[0]
    assert np.abs(seen.astype(float) - ramp / 257).max() <= 0.5


def test_hidden_colours_stay_hidden() -> None:
    """Fully transparent pixels show the background, in every way a file can say `transparent`."""
    red = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    grey = Image.new("LA", (8, 8), (200, 0))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    for content in (
        _encoded(red),
        _encoded(red, "WEBP", lossless=True, exact=True),
        _encoded(grey),
        _encoded(palette, transparency=1),
        _encoded(Image.new("RGB", (8, 8), (255, 0, 0)), transparency=(255, 0, 0)),
        _encoded(Image.new("L", (8, 8), 7), transparency=7),
    ):
        for background in (0, 99, 255):
            assert (decode(content, 8, 3, background) == background).all()
            assert (decode(content, 8, 1, background) == background).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_keeps_its_colour(mode: str) -> None:
    """White stays white in every mode; colour and grey have one and three channels."""
    image = Image.new("RGB", (12, 10), (255, 255, 255)).convert(mode)
    content = _encoded(image, "JPEG" if mode == "CMYK" else "PNG")
    for channels in (1, 3):
        seen = decode(content, 8, channels, 0)
        assert seen.shape == (channels, 8, 8)
        assert seen.dtype == np.uint8
        assert (seen >= 253).all()


def test_the_middle_is_cut_out() -> None:
    """Of a wide picture the middle square is seen, without stretching."""
    pixel = np.zeros((8, 24), np.uint8)
    pixel[:, 8:16] = 255
    assert (decode(_encoded(Image.fromarray(pixel)), 8, 1, 0) == 255).all()


def test_growing_stays_in_range_and_shrinking_is_antialiased() -> None:
    """Enlarged digits get no halos; a fine checkerboard becomes grey, not moire."""
    flat = np.full((8, 8), 100, np.uint8)
    flat[3:5, 3:5] = 200
    grown = decode(_encoded(Image.fromarray(flat)), 16, 1, 0)
    assert grown.min() == 100
    assert grown.max() <= 200
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert np.abs(decode(_encoded(Image.fromarray(board)), 8, 1, 0).astype(int) - 127)[:, 1:-1, 1:-1].max() <= 8


def test_a_large_jpeg_decoded_smaller_looks_the_same() -> None:
    """Decoding a JPEG at a fraction of its size changes what a net sees by a few grey values at most."""
    ramp = np.add.outer(np.arange(512), np.arange(640)) * 255 // 1150
    image = Image.fromarray(ramp.astype(np.uint8)).convert("RGB")
    jpeg, png = (decode(_encoded(image, name), 32, 3, 0).astype(int) for name in ("JPEG", "PNG"))
    assert np.abs(jpeg - png).max() <= 4
