"""Which formats and pixels are taken, and which format bytes are in: no name is trusted and no parser runs.

Pure Python: the workers that run the parsers load this too.
"""

import struct
from pathlib import PurePosixPath

from tasks.images.record import Refusal

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png", ".apng"},
    "WEBP": {".webp"},
    "BMP": {".bmp", ".dib"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
}
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")  # Pillow's modes
GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N")
DEEP = (*GREY_16, "I", "F")  # more than 8 bits: scaled by their range
HEAD = 32  # bytes that `sniff` and `webp_size` want to see
SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0\x10\0\0\0CR", "camera raw"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0\x08\0\0\0", "TIFF"),
    (b"MM\0+\0\x08\0\0", "TIFF"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"8BPS", "Photoshop"),
    (b"SIMPLE  =", "FITS"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\1\0", "ICO"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
    (b"PK\3\4", "ZIP"),
)


def sniff(head: bytes, path: str) -> str | Refusal:
    """The format by the first 16 bytes or more, one of FORMATS; refused without running a parser otherwise."""
    if not head:
        return Refusal("empty_file", "0 bytes")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    found = "HEIC, AVIF or video" if head[4:8] == b"ftyp" else _named_by(head)
    if found in FORMATS:
        return found
    suffix = PurePosixPath(path).suffix.lower()
    if not found and suffix and not any(suffix in known for known in SUFFIXES.values()):
        found = f"a {suffix} file"
    if not found:
        return Refusal("not_an_image", "the content is no image")
    return Refusal("format_not_allowed", f"{found}; allowed: {', '.join(FORMATS)}")


def _named_by(head: bytes) -> str:
    for signature, name in SIGNATURES:
        if head.startswith(signature):
            return name
    return ""


def wrong_extension(path: str, format_: str) -> bool:
    """Whether the name promises another format than the content has; a name without extension promises nothing."""
    at = path.rfind(".")
    return path.rfind("/") + 1 < at < len(path) - 1 and path[at:].lower() not in SUFFIXES[format_]


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP by its first HEAD bytes: libwebp takes the memory for a canvas when it is opened."""
    kind = head[12:16]
    if len(head) < HEAD:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def has_cut_tail(jpeg: bytes) -> bool:
    """Whether a JPEG ends in zeros where its data should go on: what an interrupted download into a file made to size,
    or a crash before the last blocks were written, leaves behind."""
    if jpeg.endswith(b"\xff\xd9") or not jpeg.endswith(bytes(16)):
        return False
    at = 2
    while jpeg[at : at + 1] == b"\xff" and jpeg[at + 1 : at + 2] not in {b"", b"\xda"}:  # the segments before the scan
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return b"\xff\xd9" not in jpeg[at:]
