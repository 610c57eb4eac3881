"""The 15 common corruptions in 5 severities (Hendrycks & Dietterich, ICLR 2019, arXiv:1903.12261), on whole batches.

Written here because the library that is kept has no CIFAR-10-C and one generator for all images (docs/decisions.md).
What differs from the published data is said where it differs and in docs/trust.md. Letters: N images, C channels (1 or
3), H x W pixels. Values are float32 0..1 inside and uint8 outside.
"""

import io
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.core import blur, weather
from tasks.core.blur import Pixels
from tasks.core.draws import draw
from tasks.core.severities import strength

Bytes = NDArray[np.uint8]


def corrupt(image_NCHW: Bytes, name: str, severity: int, seed_N: Sequence[int]) -> Bytes:
    """uint8 images to uint8 images of the same shape; what an image gets depends on it and on its own seed alone."""
    assert image_NCHW.dtype == np.uint8, f"corrupt wants uint8, got {image_NCHW.dtype}"
    x_NCHW = image_NCHW.astype(np.float32) / 255
    out = _ALL[name](x_NCHW, strength(name, severity, min(image_NCHW.shape[-2:])), seed_N)
    # Cut off, not rounded, as published; the hair keeps a value of k / 255 at k in spite of float32.
    changed: Bytes = (np.clip(out, 0, 1) * 255 + np.float32(1e-3)).astype(np.uint8)
    return changed


def _gaussian_noise(x: Pixels, deviation: float, seed_N: Sequence[int]) -> Pixels:
    return x + draw(seed_N, lambda rng: rng.normal(0, deviation, x.shape[1:]))


def _shot_noise(x: Pixels, photons: float, seed_N: Sequence[int]) -> Pixels:
    """Light comes in photons: each value is a Poisson count."""
    count = [np.random.default_rng(seed).poisson(image * photons) for seed, image in zip(seed_N, x, strict=True)]
    return np.stack(count).astype(np.float32) / photons


def _impulse_noise(x: Pixels, share: float, seed_N: Sequence[int]) -> Pixels:
    """Salt and pepper, value by value, half of each."""
    chance = draw(seed_N, lambda rng: rng.random(x.shape[1:]))
    return np.where(chance < share / 2, 0, np.where(chance < share, 1, x))


def _contrast(x: Pixels, factor: float, _: Sequence[int]) -> Pixels:
    """Every channel closer to its mean."""
    mean = x.mean(axis=(2, 3), keepdims=True)
    out: Pixels = (x - mean) * factor + mean
    return out


def _elastic_transform(x: Pixels, strength: tuple[float, ...], seed_N: Sequence[int]) -> Pixels:
    """A random affine map of three points, then small shifts that vary smoothly from pixel to pixel."""
    H, W = x.shape[2:]
    amplitude, sigma, affine = (share * min(H, W) for share in strength)
    middle, reach = np.array([W, H], np.float32) // 2, min(H, W) // 3
    corner_32 = middle + np.array([[reach, reach], [reach, -reach], [-reach, -reach]], np.float32)
    move_N32 = draw(seed_N, lambda rng: rng.uniform(-affine, affine, (3, 2)))
    shift_N2HW = draw([seed + 1 for seed in seed_N], lambda rng: rng.uniform(-1, 1, (2, H, W)))
    shift_N2HW = blur.gaussian(shift_N2HW, sigma, "reflect", 3.0) * np.float32(amplitude)
    row_HW, column_HW = np.mgrid[:H, :W].astype(np.float32)
    out = np.empty_like(x)
    for n, image_CHW in enumerate(x):
        matrix = cv2.getAffineTransform(corner_32, corner_32 + move_N32[n])
        image_HWC = np.ascontiguousarray(image_CHW.transpose(1, 2, 0))
        image_HWC = cv2.warpAffine(image_HWC, matrix, (W, H), borderMode=cv2.BORDER_REFLECT_101)
        right_HW, down_HW = shift_N2HW[n]
        moved = cv2.remap(image_HWC, column_HW + right_HW, row_HW + down_HW, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT)
        out[n] = moved.reshape(H, W, -1).transpose(2, 0, 1)
    return out


def _pixelate(x: Pixels, share: float, _: Sequence[int]) -> Pixels:
    H, W = x.shape[2:]

    def coarse(image: Image.Image) -> Image.Image:
        small = image.resize((max(int(W * share), 1), max(int(H * share), 1)), Image.Resampling.BOX)
        return small.resize((W, H), Image.Resampling.BOX)

    return _by_pillow(x, coarse)


def _jpeg_compression(x: Pixels, quality: int, _: Sequence[int]) -> Pixels:
    def squeezed(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return Image.open(stream)

    return _by_pillow(x, squeezed)


def _by_pillow(x_NCHW: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    C = x_NCHW.shape[1]
    byte_NHWC = np.rint(x_NCHW * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    changed = [np.asarray(change(Image.fromarray(i[..., 0] if C == 1 else i))) for i in byte_NHWC]
    return np.stack(changed).reshape(byte_NHWC.shape).transpose(0, 3, 1, 2).astype(np.float32) / 255


_ALL: dict[str, Callable[[Pixels, Any, Sequence[int]], Pixels]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": lambda x, c, _: blur.defocus_blur(x, *c),
    "glass_blur": lambda x, c, seed_N: blur.glass_blur(x, c[0], c[1], c[2], seed_N),
    "motion_blur": lambda x, c, seed_N: blur.motion_blur(x, c[0], c[1], blur.random_angles(-45, 45, seed_N)),
    "zoom_blur": lambda x, c, _: blur.zoom_blur(x, *c),
    "snow": weather.snow,
    "frost": lambda x, c, seed_N: weather.frost(x, c[0], c[1], seed_N),
    "fog": lambda x, c, seed_N: weather.fog(x, c[0], c[1], seed_N),
    "brightness": lambda x, c, _: weather.brightness(x, c),
    "contrast": _contrast,
    "elastic_transform": _elastic_transform,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
}
