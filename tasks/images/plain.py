"""Plain JPEG files of the wanted size, decoded by OpenCV: the pixels `decode` gives, for a quarter of its time.

Pillow's cost for a 32 x 32 photograph is mostly Python that holds the GIL. Both libraries bundle libjpeg-turbo, and
tests/images/test_plain.py holds them against each other. Whatever needs more than the bare decoder (another size, an
orientation, a colour transform of Adobe's, four components) is left to `decode`.
"""

import functools
from collections.abc import Callable

import numpy as np

HARMLESS = {0xC4, 0xDB, 0xDD, 0xE0, 0xE2, 0xED, 0xFE}  # tables, JFIF, ICC (ignored by `decode` too), comments
FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive


def decode_plain(content: bytes, size: int, channels: int) -> np.ndarray | None:
    """uint8 [channels, size, size] as `decode` gives it; None for all that is not a plain JPEG of this very size."""
    if _frame(content) != (size, size, channels):
        return None
    pixel: np.ndarray | None = _decoder(channels)(np.frombuffer(content, np.uint8))
    if pixel is None or pixel.shape[:2] != (size, size):
        return None
    return pixel[None] if channels == 1 else pixel.transpose(2, 0, 1)


@functools.cache
def _decoder(channels: int) -> Callable[[np.ndarray], np.ndarray | None]:
    import cv2

    flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    return lambda data: cv2.imdecode(data, flag)


def _frame(content: bytes) -> tuple[int, int, int] | None:
    """Height, width and components by the frame header; None where anything unusual stands before it."""
    if content[:3] != b"\xff\xd8\xff":
        return None
    at = 2
    while at + 9 < len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker in FRAMES:
            if content[at + 4] != 8:
                return None
            height = int.from_bytes(content[at + 5 : at + 7], "big")
            return height, int.from_bytes(content[at + 7 : at + 9], "big"), content[at + 9]
        if marker not in HARMLESS:
            return None
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None
