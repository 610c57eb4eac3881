"""Encoded images: is one sound (`check`), and what a net sees of it (`decode`).

Only four parsers are ever run. A header is believed about size before anything is decoded, and an image counts as sound
only when all of it was decoded: Pillow's verify() passes a JPEG cut in half.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tasks.images.record import Refusal

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png"},
    "WEBP": {".webp"},
    "BMP": {".bmp", ".dib"},
}
SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"8BPS", "Photoshop"),
    (b"SIMPLE  =", "FITS"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\1\0", "ICO"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
    (b"PK\3\4", "ZIP"),
)
GREY_16 = {"I;16", "I;16L", "I;16B", "I;16N", "I"}  # "I" is how older Pillows open a 16-bit PNG

Image.MAX_IMAGE_PIXELS = None  # Pillow only warns at first; our own limit refuses, before decoding


@dataclass(frozen=True, slots=True)
class Sound:
    """What a sound image is: format and mode as Pillow names them, stored width and height, frames in the file."""

    format: str
    mode: str
    width: int
    height: int
    frames: int


@contextmanager
def warnings_are_errors() -> Iterator[None]:
    """Pillow's warnings (corrupt EXIF and the like) refuse the image. Per process: enter it before threads start."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"PIL\.")
        yield


def sniff(head: bytes, path: str) -> str | Refusal:
    """The format by the first 16 bytes or more, one of FORMATS; refused without running a parser otherwise."""
    if not head:
        return Refusal("empty_file", "0 bytes")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        found = "HEIC, AVIF or video"
    else:
        found = next((name for signature, name in SIGNATURES if head.startswith(signature)), "")
    suffix = PurePosixPath(path).suffix.lower()
    if not found and suffix and not any(suffix in known for known in SUFFIXES.values()):
        found = f"a {suffix} file"
    if not found:
        return Refusal("not_an_image", "the content is no image")
    return found if found in FORMATS else Refusal("format_not_allowed", f"{found}; allowed: {', '.join(FORMATS)}")


def check(content: bytes, path: str, max_pixels: int) -> Sound | Refusal:
    """Decode an image completely and say what it is, or why it is refused. `path` helps to name what is no image."""
    format_ = sniff(content[:16], path)
    if isinstance(format_, Refusal):
        return format_
    try:
        with Image.open(io.BytesIO(content), formats=(format_,)) as image:
            if image.width * image.height > max_pixels:
                what = f"{image.width} x {image.height} pixels, allowed by ingest.max_pixels: {max_pixels}"
                return Refusal("too_large", what)
            frames = getattr(image, "n_frames", 1)
            image.load()
            image.getexif()
            return Sound(format_, image.mode, image.width, image.height, frames)
    except Exception as error:  # Pillow's parsers raise almost anything on damaged bytes
        return _damaged(error, format_)


def wrong_extension(path: str, format_: str) -> bool:
    """Whether the name promises another format than the content has; a name without extension promises nothing."""
    suffix = PurePosixPath(path).suffix.lower()
    return bool(suffix) and suffix not in SUFFIXES[format_]


def decode(content: bytes, size: int, channels: int, background: int) -> np.ndarray:
    """A checked image as a net sees it: uint8 [channels, size, size], upright, on a grey `background`.

    The shorter side is scaled to `size`, the middle is cut out. Shrinking is bicubic with antialiasing. Growing is
    bilinear: it stays within the range of its neighbours, where bicubic draws halos around the strokes of small images.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if min(image.size) > 2 * size:
            image.draft(None, (2 * size, 2 * size))  # JPEG: decode at 1/2, 1/4 or 1/8, still twice what is needed
        ImageOps.exif_transpose(image, in_place=True)
        plain = _eight_bit(image, "L" if channels == 1 else "RGB", background)
    side = min(plain.size)
    if plain.size != (size, size):
        left, top = (plain.width - side) / 2, (plain.height - side) / 2
        resample = Image.Resampling.BICUBIC if side > size else Image.Resampling.BILINEAR
        plain = plain.resize((size, size), resample, box=(left, top, left + side, top + side))
    pixel = np.asarray(plain)
    return pixel[None] if channels == 1 else pixel.transpose(2, 0, 1)


def _eight_bit(image: Image.Image, mode: str, background: int) -> Image.Image:
    """Any mode as 8-bit `L` or `RGB`: transparency over grey, 16 bits scaled by their range, CMYK through RGB."""
    if image.mode in GREY_16:
        value = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((value + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        below = Image.new("RGBA", colour.size, (background, background, background, 255))
        image = Image.alpha_composite(below, colour).convert("RGB")
    if image.mode == mode:
        return image
    return (image if image.mode in {"1", "L", "RGB"} else image.convert("RGB")).convert(mode)


def _damaged(error: Exception, format_: str) -> Refusal:
    """The refusal for what a parser raised; its text only where it cannot hold an address in memory."""
    if isinstance(error, UnidentifiedImageError):
        return Refusal("decode_error", f"begins like {format_} but its header is damaged")
    text = f"{type(error).__name__}: {error}"
    cut = isinstance(error, EOFError) or "truncat" in text.lower() or "unexpected end" in text.lower()
    return Refusal("truncated" if cut else "decode_error", text)
