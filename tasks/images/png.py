"""Plain PNG files are sound when their data inflate to what the header says: the half of decoding that can fail.

Plain is what tools and data sets write: 8 bits, not interlaced, no palette, no transparent colour, no metadata. The
other half, undoing the row filters, is arithmetic on any bytes and most of Pillow's time. PNG 1.2, sections 5 to 9.
"""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MODES = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}  # Pillow's, by the colour type
LENGTHS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"tIME": 7}  # of chunks that change nothing
LAST_FILTER = 4  # none, sub, up, average, Paeth
LARGEST = 2**23  # pixels: content, data and rows are in memory together, which is more than Pillow needs


def plain_frame(content: bytes) -> tuple[str, int, int, list[bytes]] | None:
    """Pillow's mode, width and height, and the compressed data of a plain PNG; None where Pillow has to look at it."""
    data: list[bytes] = []
    frame, at = _header(content), 33
    while frame and at + 12 <= len(content):
        (length,), kind = struct.unpack_from(">I", content, at), content[at + 4 : at + 8]
        body, end = at + 8, at + 8 + length
        if kind == b"IEND":
            return (*frame, data) if data and length == 0 and _is_intact(content, at, end) else None
        if kind == b"IDAT":
            data.append(content[body:end])
        elif data or LENGTHS.get(kind) != length:
            return None
        if not _is_intact(content, at, end):
            return None
        at = end + 4
    return None


def inflates(data: list[bytes], mode: str, width: int, height: int) -> bool:
    """Whether the data are one whole zlib stream, with its checksum, of rows that each begin with a known filter."""
    stride = 1 + width * len(mode)
    stream = zlib.decompressobj()
    rows = b"".join(data)
    try:
        rows = stream.decompress(rows, height * stride + 1)  # a bomb is seen one byte too late
    except zlib.error:
        return False
    return stream.eof and not stream.unused_data and len(rows) == height * stride and max(rows[::stride]) <= LAST_FILTER


def _header(content: bytes) -> tuple[str, int, int] | None:
    if len(content) < 33 or not content.startswith(SIGNATURE + b"\0\0\0\rIHDR") or not _is_intact(content, 8, 29):
        return None
    width, height, depth, colour, *rest = struct.unpack_from(">IIBBBBB", content, 16)
    plain = depth == 8 and colour in MODES and rest == [0, 0, 0] and 0 < width * height <= LARGEST
    return (MODES[colour], width, height) if plain else None


def _is_intact(content: bytes, start: int, end: int) -> bool:
    """Whether the chunk's checksum, over its name and its bytes, is the one behind it."""
    return zlib.crc32(content[start + 4 : end]) == int.from_bytes(content[end : end + 4])
