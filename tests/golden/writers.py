"""Files of every kind, written by hand or by Pillow: what the golden tests decode."""

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

SIDE = 8
COLOUR = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
GREY = COLOUR[..., 0]
DEEP = np.linspace(0, 65535, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE)
DEEP_COLOUR = np.random.default_rng(2).integers(0, 65536, (SIDE, SIDE, 3), np.uint16)
ALPHA = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE), np.uint8)
SMOOTH = np.stack([np.add.outer(np.arange(64), np.arange(64) * k) % 256 // 2 for k in (1, 2, 1)], -1).astype(np.uint8)


def saved(pixel: Any, format_: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """An array (or picture) as Pillow writes it, after a conversion to `mode`."""
    image = pixel if isinstance(pixel, Image.Image) else Image.fromarray(pixel)
    stream = io.BytesIO()
    (image.convert(mode) if mode else image).save(stream, format_, **options)
    return stream.getvalue()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(rows: Iterable[bytes], width: int, height: int, bits: int, colour: int, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG of unfiltered rows; `more`: chunks between header and data, as tRNS."""
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def deep_png(pixel: np.ndarray, colour: int, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG of 16 bits a value: uint16 [H, W] or [H, W, C]."""
    return png([row.astype(">u2").tobytes() for row in pixel], pixel.shape[1], pixel.shape[0], 16, colour, *more)


def tiff(data: bytes, tags: dict[int, tuple[int, int | float | list[int]]], order: str = "<", next_: int = 0) -> bytes:
    """A TIFF of one uncompressed strip. `tags`: number -> (type, value), types 3 (short), 4 (long), 11 (float)."""
    entries, extra = [], b""
    tags = {256: (3, SIDE), 257: (3, SIDE), 259: (3, 1), 273: (4, 8), 278: (3, SIDE), 279: (4, len(data)), **tags}
    after = 8 + len(data) + 2 + 12 * len(tags) + 4
    for tag, (kind, value) in sorted(tags.items()):
        values = value if isinstance(value, list) else [value]
        code = {3: "H", 4: "I", 11: "f"}[kind]
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(packed) > 4:
            field, extra = struct.pack(f"{order}I", after + len(extra)), extra + packed
        else:
            field = packed.ljust(4, b"\0")
        entries.append(struct.pack(f"{order}HHI", tag, kind, len(values)) + field)
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + struct.pack(f"{order}I", next_)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(f"{order}I", 8 + len(data)) + data + directory + extra


def grey_tiff(pixel: np.ndarray, order: str = "<", photometric: int = 1, **limits: float) -> bytes:
    """A TIFF of one value a pixel, of any type; `low` and `high` declare its range."""
    kind = {"u": 1, "i": 2, "f": 3}[pixel.dtype.kind]
    tags: dict[int, tuple[int, int | float | list[int]]] = {
        258: (3, pixel.dtype.itemsize * 8),
        262: (3, photometric),
        277: (3, 1),
        339: (3, kind),
    }
    if limits:
        tags |= {340: (11, limits["low"]), 341: (11, limits["high"])}
    return tiff(pixel.astype(pixel.dtype.newbyteorder(order)).tobytes(), tags, order)


def deep_colour_tiff(order: str) -> bytes:
    """A TIFF of three 16-bit values a pixel."""
    tags: dict[int, tuple[int, int | float | list[int]]] = {258: (3, [16] * 3), 262: (3, 2), 277: (3, 3)}
    return tiff(DEEP_COLOUR.astype(f"{order}u2").tobytes(), tags, order)


def many_directories(count: int) -> bytes:
    """A TIFF whose directories lead to each other in a chain of `count`."""
    first = grey_tiff(GREY)
    at = struct.unpack_from("<I", first, 4)[0]
    size = struct.unpack_from("<H", first, at)[0] * 12 + 6
    directory = first[at : at + size - 4]
    content, start = bytearray(first[: at + size - 4]), at + size
    for number in range(count - 1):
        content += struct.pack("<I", start + number * size) + directory
    return bytes(content + b"\0\0\0\0")


def rotated(orientation: int, format_: str) -> bytes:
    """COLOUR, stored so that its EXIF orientation makes it upright."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    image = Image.fromarray(COLOUR)
    stored = image.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(stored, format_, exif=exif, **({"lossless": True} if format_ == "WEBP" else {}))


def ycck() -> bytes:
    """A JPEG of four flat channels that its Adobe marker says are YCCK, inverted as Adobe does."""
    content = saved(Image.new("CMYK", (SIDE, SIDE), (90, 100, 170, 40)), "JPEG", quality=100)
    at = content.index(b"Adobe") + 11
    return content[:at] + b"\2" + content[at + 1 :]


def frames(format_: str, count: int = 3) -> bytes:
    """A file of several frames; the first is GREY with exact colours, the others black."""
    first, black = Image.fromarray(GREY), Image.new("L", (SIDE, SIDE))
    options = {"lossless": True} if format_ == "WEBP" else {}
    return saved(first, format_, save_all=True, append_images=[black] * (count - 1), **options)


def webp_header(width: int, height: int) -> bytes:
    """The beginning of a WebP with a canvas of any size."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\2\0\0\0" + size + bytes(48)


def gif_header(width: int, height: int) -> bytes:
    """The beginning of a GIF whose screen is small and whose frame is not."""
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2\x4c\1\0;"
    return b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + frame
