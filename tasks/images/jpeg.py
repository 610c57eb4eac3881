"""Plain JPEG files without Pillow's parser: what it would find in the header, or None if anything is special.

Pillow's time for a small photograph is mostly the Python that reads its header. Plain is what cameras, tools and data
sets write without metadata: JFIF, tables of 8 bits, one frame of grey or YCbCr, comments, then the data.
"""

from PIL import Image

JFIF = b"JFIF\0"
FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive
HARMLESS = {0xC4, 0xDD, 0xFE}  # Huffman tables, restart interval, comment
TABLES, SCAN, APP0 = 0xDB, 0xDA, 0xE0
MODES = {1: "L", 3: "RGB"}  # Pillow's, by the number of components


def plain_frame(content: bytes) -> tuple[str, int, int] | None:
    """Pillow's mode, width and height of a plain JPEG; None where Pillow itself has to look at it."""
    frame, at = None, 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], content[at + 2] << 8 | content[at + 3]
        body, at = at + 4, at + 2 + length
        if length < 2 or at > len(content) or marker == SCAN:
            return frame if marker == SCAN else None
        if marker in FRAMES and frame is None:
            if (frame := _frame(content[body:at])) is None:
                return None
        elif not _is_harmless(marker, content[body:at]):
            return None
    return None


def decoded(content: bytes, mode: str, width: int, height: int, shrink: int = 1) -> Image.Image | None:
    """The picture of a plain JPEG, by Pillow's decoder with the arguments that Pillow would find; None if damaged.

    With `shrink` 8 each block of 8 x 8 pixels becomes one: all data are decoded, which is what fails on a damaged file,
    and the arithmetic that makes pixels of them is left out, half of the time.
    """
    size = -(-width // shrink), -(-height // shrink)
    try:
        return Image.frombytes(mode, size, content, "jpeg", mode, "", shrink, 0)
    except Exception:
        return None


def _is_harmless(marker: int, body: bytes) -> bool:
    """Whether a segment is one that Pillow reads without complaint and that changes nothing."""
    if marker == TABLES:
        return len(body) % 65 == 0 and max(body[::65], default=0) <= 3
    return marker in HARMLESS or (marker == APP0 and len(body) >= 14 and body.startswith(JFIF))


def _frame(body: bytes) -> tuple[str, int, int] | None:
    if len(body) < 9 or body[0] != 8 or body[5] not in MODES or len(body) != 6 + 3 * body[5]:
        return None
    height, width = body[1] << 8 | body[2], body[3] << 8 | body[4]
    return (MODES[body[5]], width, height) if width and height else None
