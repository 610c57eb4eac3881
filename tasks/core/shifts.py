"""Sequences of small shifts, in which a steady net says the same of every frame (ImageNet-P, arXiv:1903.12261).

Of the ten published perturbations these six, with the steps of CIFAR-10-P: one pixel, one degree, 0.75 degrees of tilt,
2 % of scale, 1.5 % of brightness, noise of deviation 0.02. Published sequences have 31 frames; here the number is free,
and fewer frames are the middle of the published ones. The border is repeated outwards where the published images turn
black. Letters: N images, F frames, C channels, H x W pixels.
"""

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.core.blur import Pixels
from tasks.core.draws import draw
from tasks.core.weather import brightness

SHIFTS = ("gaussian_noise", "brightness", "translate", "rotate", "tilt", "scale")
NOISE = "gaussian_noise"  # its frames are compared with the first one, those of the others with the one before
Bytes = NDArray[np.uint8]


def frames(image_NCHW: Bytes, name: str, count: int, seed_N: Sequence[int]) -> Iterator[Bytes]:
    """`count` frames of every image, one frame at a time: uint8 (N, C, H, W)."""
    if name == NOISE:
        yield image_NCHW
        for index in range(1, count):
            noise = draw([seed + index for seed in seed_N], lambda rng: rng.normal(0, 0.02, image_NCHW.shape[1:]))
            yield _bytes(image_NCHW / np.float32(255) + noise)
        return
    for index in range(count):
        step = index - count // 2
        if name == "brightness":
            yield _bytes(_darker_or_brighter(image_NCHW.astype(np.float32) / 255, 0.015 * step))
        else:
            yield _warped(image_NCHW, _matrix(name, step, *image_NCHW.shape[-2:]))


def _bytes(x: Pixels) -> Bytes:
    out: Bytes = (np.clip(x, 0, 1) * 255 + np.float32(1e-3)).astype(np.uint8)
    return out


def _darker_or_brighter(x_NCHW: Pixels, added: float) -> Pixels:
    return brightness(x_NCHW, added) if added else x_NCHW


def _warped(image_NCHW: Bytes, matrix_33: NDArray[np.float64]) -> Bytes:
    """Every image through one perspective map, linearly interpolated."""
    _, C, H, W = image_NCHW.shape
    out = np.empty_like(image_NCHW)
    for n, image_CHW in enumerate(image_NCHW):
        image_HWC = np.ascontiguousarray(image_CHW.transpose(1, 2, 0))
        moved = cv2.warpPerspective(
            image_HWC, matrix_33, (W, H), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        out[n] = moved.reshape(H, W, C).transpose(2, 0, 1)
    return out


def _matrix(name: str, step: int, H: int, W: int) -> NDArray[np.float64]:
    """The map (3, 3) of pixels to pixels, `step` steps from the image as it is."""
    if name == "translate":
        return np.array([[1.0, 0, step], [0, 1, 0], [0, 0, 1]])
    middle = np.array([[1, 0, (W - 1) / 2], [0, 1, (H - 1) / 2], [0, 0, 1]])
    if name == "rotate":
        turn = math.radians(step)
        change = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
    elif name == "scale":
        change = np.diag([1 + 0.02 * step, 1 + 0.02 * step, 1])
    else:
        change = _tilt(math.radians(0.75 * step), math.hypot(H, W))
    return np.asarray(middle @ change @ np.linalg.inv(middle))


def _tilt(angle: float, distance: float) -> NDArray[np.float64]:
    """The plane turned about both of its axes, seen by a pinhole camera at `distance`."""
    sin, cos = math.sin(angle), math.cos(angle)
    about_x = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    about_y = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    turned = (about_x @ about_y)[:, :2]
    # A point (x, y) of the plane goes to turned @ (x, y) + (0, 0, distance), and is divided by its depth over distance.
    return np.asarray(np.column_stack([turned, [0, 0, distance]]) * np.array([[1], [1], [1 / distance]]))
