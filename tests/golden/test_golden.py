"""Images of every kind people have: each decodes to its reference within 1/255, or is refused for the stated reason.

The reference of each is computed from the numbers it was made of, never by decoding it. The files are made here.
"""

import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.images.check import Sound, check
from tasks.images.decode import decode
from tests.golden.writers import (
    ALPHA,
    COLOUR,
    DEEP,
    DEEP_COLOUR,
    GREY,
    SIDE,
    SMOOTH,
    deep_colour_tiff,
    deep_png,
    frames,
    gif_header,
    grey_tiff,
    many_directories,
    png,
    rotated,
    saved,
    webp_header,
    ycck,
)

BACKGROUND = 99
MAX_PIXELS = 4096
TOLERANCE = {
    "jpeg": 3,  # JPEG itself loses that much at quality 100
    "and alpha": 2,  # of 16 bits Pillow keeps the upper 8, of the grey and of its alpha: two errors below 1/255
}
ONE = (GREY > 127).astype(np.uint8)
FLAT = np.zeros((SIDE, SIDE, 3), np.uint8)
UNIT = GREY.astype(np.float32) / 255
EIGHT = DEEP / 257


def _over(pixel: np.ndarray, alpha: Any) -> np.ndarray:
    """Pixels over the background: grey [H, W] or colour [H, W, 3], alpha 0 to 255."""
    share = np.asarray(alpha, float) / 255
    share = share[..., None] if pixel.ndim == 3 and share.ndim == 2 else share
    return pixel * share + BACKGROUND * (1 - share)


def _packed(bits: int) -> tuple[bytes, np.ndarray]:
    """A PNG of `bits` a pixel in which one value, 1, is transparent, and what is seen of it."""
    value = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 2**bits
    digits = "".join(f"{v:0{bits}b}" for v in value.ravel())
    row = SIDE * bits // 8
    data = int(digits, 2).to_bytes(row * SIDE, "big")
    content = png([data[row * y : row * y + row] for y in range(SIDE)], SIDE, SIDE, bits, 0, (b"tRNS", b"\0\1"))
    return content, np.where(value == 1, BACKGROUND, value * 255 / (2**bits - 1))


def _palette(**options: Any) -> bytes:
    image = Image.fromarray(ONE).convert("P")
    image.putdata(ONE.ravel().tolist())
    image.putpalette([10, 20, 30, 200, 100, 50])
    return saved(image, **options)


def _hidden_deep(pixel: np.ndarray, colour: int) -> bytes:
    name = np.atleast_1d(pixel[0, 1]).astype(">u2").tobytes()
    return deep_png(pixel, colour, (b"tRNS", name))


def _at(pixel: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """`seen`, with the background at the second pixel, the one that `_hidden_deep` makes transparent."""
    seen = seen.astype(float).copy()
    seen[(pixel == pixel[0, 1]).reshape(SIDE, SIDE, -1).all(-1)] = BACKGROUND
    return seen


PAINTED = np.array([[10, 20, 30], [200, 100, 50]], float)[ONE]
RGBA = np.dstack([COLOUR, ALPHA])
CMYK = np.dstack([COLOUR, ALPHA])
CMYK_SEEN = (255.0 - COLOUR) * (255.0 - ALPHA[..., None]) / 255
YCCK_SEEN = np.broadcast_to((255 - np.array([104.7, 186.4, 212.8])) * 215 / 255, (SIDE, SIDE, 3))
BIG = {"lossless": True, "exact": True}
BOMB = zlib.compress(bytes(900_000))
SOFT = saved(SMOOTH, "JPEG", quality=100, subsampling=0)
ROUGH = saved(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), "JPEG", quality=80)

SEEN: dict[str, tuple[bytes, np.ndarray]] = {
    "png colour": (saved(COLOUR), COLOUR),
    "png grey": (saved(GREY), GREY),
    "png 1 bit": (saved(Image.fromarray(ONE * 255), mode="1"), ONE * 255),
    "png 1 bit, one value transparent": _packed(1),
    "png 2 bits, one value transparent": _packed(2),
    "png 4 bits, one value transparent": _packed(4),
    "png palette": (_palette(), PAINTED),
    "png palette, one colour transparent": (_palette(transparency=1), _over(PAINTED, 255 * (1 - ONE))),
    "png palette, colours half transparent": (_palette(transparency=b"\x40\xc0"), _over(PAINTED, 64 + 128.0 * ONE)),
    "png grey and alpha": (saved(np.dstack([GREY, ALPHA])), _over(GREY, ALPHA)),
    "png colour and alpha": (saved(RGBA), _over(COLOUR, ALPHA)),
    "png one colour transparent": (saved(COLOUR, transparency=tuple(COLOUR[0, 1].tolist())), _at(COLOUR, COLOUR)),
    "png 16-bit grey": (deep_png(DEEP, 0), EIGHT),
    "png 16-bit grey, one value transparent": (_hidden_deep(DEEP, 0), _at(DEEP, EIGHT)),
    "png 16-bit colour": (deep_png(DEEP_COLOUR, 2), DEEP_COLOUR / 257),
    "png 16-bit colour, one transparent": (_hidden_deep(DEEP_COLOUR, 2), _at(DEEP_COLOUR, DEEP_COLOUR / 257)),
    "png 16-bit grey and alpha": (deep_png(np.dstack([DEEP, DEEP.T]), 4), _over(EIGHT, EIGHT.T)),
    "png 16-bit colour and alpha": (deep_png(np.dstack([DEEP_COLOUR, DEEP]), 6), _over(DEEP_COLOUR / 257, EIGHT)),
    "apng": (frames("PNG"), GREY),
    "jpeg grey": (saved(SMOOTH[..., 0], "JPEG", quality=100), SMOOTH[..., 0]),
    "jpeg colour": (SOFT, SMOOTH),
    "jpeg progressive": (saved(SMOOTH, "JPEG", quality=100, subsampling=0, progressive=True), SMOOTH),
    "jpeg cmyk": (saved(Image.fromarray(CMYK[:1, :1].repeat(8, 0).repeat(8, 1), "CMYK"), "JPEG", quality=100),
                  CMYK_SEEN[:1, :1].repeat(8, 0).repeat(8, 1)),
    "jpeg ycck": (ycck(), YCCK_SEEN),
    "jpeg, bytes after its end": (SOFT + bytes(64), SMOOTH),
    "webp lossless": (saved(COLOUR, "WEBP", **BIG), COLOUR),
    "webp alpha": (saved(RGBA, "WEBP", **BIG), _over(COLOUR, ALPHA)),
    "webp animated": (frames("WEBP"), GREY),
    "bmp colour": (saved(COLOUR, "BMP"), COLOUR),
    "bmp grey": (saved(GREY, "BMP"), GREY),
    "bmp 1 bit": (saved(Image.fromarray(ONE * 255), "BMP", "1"), ONE * 255),
    "gif": (saved(GREY, "GIF"), GREY),
    "gif transparent": (_palette(format_="GIF", transparency=1), _over(PAINTED, 255 * (1 - ONE))),
    "gif animated": (frames("GIF"), GREY),
    "tiff colour": (saved(COLOUR, "TIFF"), COLOUR),
    "tiff lzw": (saved(COLOUR, "TIFF", compression="tiff_lzw"), COLOUR),
    "tiff deflate": (saved(COLOUR, "TIFF", compression="tiff_adobe_deflate"), COLOUR),
    "tiff alpha": (saved(RGBA, "TIFF"), _over(COLOUR, ALPHA)),
    "tiff cmyk": (saved(Image.fromarray(CMYK, "CMYK"), "TIFF"), CMYK_SEEN),
    "tiff pages": (frames("TIFF"), GREY),
    "tiff of 5,000 directories": (many_directories(5000), GREY),
    "tiff white is zero": (grey_tiff(GREY, photometric=0), 255 - GREY),
    "tiff 16-bit": (grey_tiff(DEEP), EIGHT),
    "tiff 16-bit big-endian": (grey_tiff(DEEP, ">"), EIGHT),
    "tiff 16-bit white is zero": (grey_tiff(DEEP, photometric=0), 255 - EIGHT),
    "tiff 16-bit of a declared range": (grey_tiff(DEEP // 16, low=0, high=4095), DEEP / 65535 * 255),
    "tiff 16-bit colour": (deep_colour_tiff("<"), DEEP_COLOUR / 257),
    "tiff 16-bit colour big-endian": (deep_colour_tiff(">"), DEEP_COLOUR / 257),
    "tiff float of a declared range": (grey_tiff(UNIT, low=0, high=1), GREY),
    "tiff signed of a declared range": (grey_tiff(GREY.astype(np.int16) - 99, low=-99, high=156), GREY),
    "tiff 32-bit of a declared range": (grey_tiff(GREY.astype(np.int32) * 1000, low=0, high=255000), GREY),
    **{f"png orientation {n}": (rotated(n, "PNG"), COLOUR) for n in range(1, 9)},
    "webp orientation 6": (rotated(6, "WEBP"), COLOUR),
    "tiff orientation 6": (rotated(6, "TIFF"), COLOUR),
}  # fmt: skip

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty_file"),
    "text": (b"hello, world, here is text", "not_an_image"),
    "jpeg cut in half": (SOFT[: len(SOFT) // 2], "truncated"),
    "jpeg whose tail is zeros": (SOFT[: len(SOFT) // 2] + bytes(len(SOFT) // 2), "suspect_tail"),
    "jpeg whose tail is missing, ended by hand": (ROUGH[: len(ROUGH) // 2] + b"\xff\xd9", "suspect_tail"),
    "png cut in half": (saved(COLOUR)[:100], "truncated"),
    "png of 1e10 pixels": (png([], 100_000, 100_000, 1, 0), "too_large"),
    "png of texts": (png([bytes(8)] * 8, 8, 8, 8, 0, *[(b"zTXt", b"k\0\0" + BOMB)] * 80), "too_large"),
    "webp of 1e8 pixels": (webp_header(10_000, 10_000), "too_large"),
    "gif whose frame is larger than its screen": (gif_header(10_000, 10_000), "too_large"),
    "tiff of 1e8 pixels": (
        grey_tiff(GREY).replace(b"\0\1\3\0\1\0\0\0\x08\0", b"\0\1\3\0\1\0\0\0\xff\xff"),
        "too_large",
    ),
    "bmp of 1e8 pixels": (
        saved(GREY, "BMP").replace(b"\x08\0\0\0\x08\0\0\0", b"\xff\xff\0\0\xff\xff\0\0"),
        "too_large",
    ),
    "tiff float of unknown range": (grey_tiff(UNIT), "needs_range"),
    "tiff float beyond its range": (grey_tiff(UNIT, low=0, high=0.5), "needs_range"),
    "tiff float with a NaN": (grey_tiff(np.where(ONE, UNIT, np.float32("nan")), low=0, high=1), "needs_range"),
    "tiff signed of unknown range": (grey_tiff(GREY.astype(np.int16)), "needs_range"),
    "tiff of LAB": (saved(Image.new("LAB", (8, 8)), "TIFF"), "mode_not_allowed"),
    "tiff beginning with a thumbnail": (saved(COLOUR, "TIFF", tiffinfo={254: 1}), "format_not_allowed"),
    "pdf": (saved(COLOUR, "PDF"), "format_not_allowed"),
    "eps": (saved(COLOUR, "EPS"), "format_not_allowed"),
    "jpeg 2000": (saved(COLOUR, "JPEG2000"), "format_not_allowed"),
    "avif": (saved(SMOOTH, "AVIF"), "format_not_allowed"),
    "photoshop": (b"8BPS\0\1" + bytes(64), "format_not_allowed"),
    "fits": (b"SIMPLE  =" + b" " * 64, "format_not_allowed"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "format_not_allowed"),
}


@pytest.mark.parametrize("name", SEEN)
def test_an_accepted_image_is_its_reference(name: str) -> None:
    """Every value that a net sees lies within 1/255 of the number the file was made of (TOLERANCE: but these)."""
    content, reference = SEEN[name]
    verdict = check(content, "a.bin", MAX_PIXELS)
    assert isinstance(verdict, Sound), verdict
    assert verdict.many_frames == any(word in name for word in ("animated", "apng", "pages", "directories"))
    seen = decode(content, reference.shape[0], 3, BACKGROUND).astype(float)
    reference_CHW = np.broadcast_to(np.moveaxis(np.atleast_3d(reference), -1, 0), seen.shape)
    assert np.abs(seen - reference_CHW).max() <= next((value for word, value in TOLERANCE.items() if word in name), 1)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_image_says_why(name: str) -> None:
    """Nothing is guessed, clipped or half decoded: the file carries the reason that stands in the table."""
    content, reason = REFUSED[name]
    verdict = check(content, "a.jpg", MAX_PIXELS)
    assert getattr(verdict, "reason", None) == reason, verdict


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_wide_image_on_its_side(format_: str) -> None:
    """An image that is not square and lies on its side is accepted, and its middle is cut out upright."""
    wide = np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[None], 8, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(wide).transpose(Image.Transpose.ROTATE_90)
    content = saved(stored, format_, exif=exif, **({"lossless": True} if format_ == "WEBP" else {"quality": 100}))
    assert isinstance(check(content, "a.bin", MAX_PIXELS), Sound)
    assert np.abs(decode(content, 8, 1, BACKGROUND)[0].astype(int) - wide[:, 8:16]).max() <= 2


@pytest.mark.parametrize("name", [name for name in SEEN if name.startswith("png orientation")])
def test_orientations_look_the_same_in_grey(name: str) -> None:
    """One channel is turned like three."""
    upright = decode(saved(COLOUR), SIDE, 1, BACKGROUND)
    np.testing.assert_array_equal(decode(SEEN[name][0], SIDE, 1, BACKGROUND), upright)
