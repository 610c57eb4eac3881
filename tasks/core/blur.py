"""Blurs of the corruption benchmark, on whole batches. N images, C channels, H x W pixels, values float32 0..1."""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tasks.core.draws import draw

Pixels = NDArray[np.floating[Any]]  # float32


def gaussian(x: Pixels, sigma: float, mode: str = "nearest", truncate: float = 4.0) -> Pixels:
    """Smooth the last two axes; borders and reach as scikit-image has them."""
    if sigma == 0:
        return x
    out: Pixels = gaussian_filter(x, sigma, axes=(-2, -1), mode=mode, truncate=truncate)
    return out


def defocus_blur(x_NCHW: Pixels, radius: float, smooth: float) -> Pixels:
    """A disk as the lens out of focus has it; the border is mirrored."""
    kernel = disk(radius, smooth)
    return np.stack([[cv2.filter2D(x_HW, -1, kernel) for x_HW in x_CHW] for x_CHW in x_NCHW])


def disk(radius: float, smooth: float) -> Pixels:
    """A disk of sum 1, its edge smoothed; rows and columns of nothing but 0 are left out."""
    reach = 8 if radius <= 8 else int(radius)
    size = 3 if radius <= 8 else 5
    row, column = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    flat = (row**2 + column**2 <= radius**2).astype(np.float32)
    smoothed: Pixels = cv2.GaussianBlur(flat / flat.sum(), (size, size), sigmaX=smooth)
    used = np.flatnonzero(smoothed.any(axis=0))
    kernel = smoothed[used[0] : used[-1] + 1, used[0] : used[-1] + 1]
    whole: Pixels = kernel / kernel.sum()
    return whole


def glass_blur(x_NCHW: Pixels, sigma: float, reach: int, passes: int, seed_N: Sequence[int]) -> Pixels:
    """Smooth, swap each pixel with one at most `reach` away, smooth again.

    Pixel by pixel from the last, as published, so that a pixel can wander far; all images of the batch at once.
    """
    N, _, H, W = x_NCHW.shape
    x = np.floor(gaussian(x_NCHW, sigma) * 255) / 255
    step_NPHW2 = np.stack(
        [np.random.default_rng(s).integers(-reach, reach, (passes, H, W, 2), dtype=np.int8) for s in seed_N]
    )
    each_N = np.arange(N)
    for turn in range(passes):
        for h in range(H - reach, reach, -1):
            for w in range(W - reach, reach, -1):
                to_h, to_w = (np.array((h, w)) + step_NPHW2[:, turn, h, w]).T
                here_NC, there_NC = x[:, :, h, w].copy(), x[each_N, :, to_h, to_w]
                x[:, :, h, w], x[each_N, :, to_h, to_w] = there_NC, here_NC
    return gaussian(x, sigma)


def motion_blur(x_NCHW: Pixels, radius: float, sigma: float, angle_N: Pixels) -> Pixels:
    """Smear each image along its own angle (degrees), with half a Gaussian as weights; ImageMagick's way to do it."""
    N, _, H, W = x_NCHW.shape
    taps = 2 * math.ceil(radius) + 1
    weight_T = np.exp(-(np.arange(taps) ** 2) / (2 * sigma**2))
    weight_T /= weight_T.sum()
    each_N11 = np.arange(N)[:, None, None]
    x_NHWC, out = np.ascontiguousarray(x_NCHW.transpose(0, 2, 3, 1)), 0.0
    for tap, weight in enumerate(weight_T):
        down_N, right_N = (np.rint(tap * f(np.deg2rad(angle_N))).astype(int) for f in (np.sin, np.cos))
        row_NH1 = np.clip(np.arange(H) + down_N[:, None], 0, H - 1)[:, :, None]
        column_N1W = np.clip(np.arange(W) + right_N[:, None], 0, W - 1)[:, None, :]
        out = out + np.float32(weight) * x_NHWC[each_N11, row_NH1, column_N1W]
    return np.ascontiguousarray(np.asarray(out).transpose(0, 3, 1, 2))


def random_angles(low: float, high: float, seed_N: Sequence[int]) -> Pixels:
    """An angle in degrees for each image, even between the two."""
    return draw(seed_N, lambda rng: rng.uniform(low, high, ()))


def zoom_blur(x_NCHW: Pixels, end: float, step: float) -> Pixels:
    """The mean of the image and of its zooms from 1 on, as a lens that zooms during the exposure gives it."""
    factors = np.arange(1, end, step)
    out: Pixels = x_NCHW.copy()
    for factor in factors:
        out += zoomed(x_NCHW, float(factor))
    return out / (len(factors) + 1)


def zoomed(x: Pixels, factor: float) -> Pixels:
    """The middle of the last two axes enlarged to their old size. Linear interpolation is a matrix for each axis."""
    rows, columns = (_zoom_matrix(size, factor) for size in x.shape[-2:])
    out: Pixels = rows @ x @ columns.T
    return out


def _zoom_matrix(size: int, factor: float) -> Pixels:
    """(size, size): crop the middle, enlarge as scipy.ndimage.zoom does (the ends stay ends), cut to the old size."""
    crop = math.ceil(size / factor)
    first = (size - crop) // 2
    large = round(crop * factor)
    place_L = np.arange(large) * ((crop - 1) / max(large - 1, 1))
    below_L = np.minimum(np.floor(place_L).astype(int), crop - 1)
    above_L = np.minimum(below_L + 1, crop - 1)
    matrix = np.zeros((large, size), np.float32)
    np.add.at(matrix, (np.arange(large), first + below_L), 1 - (place_L - below_L))
    np.add.at(matrix, (np.arange(large), first + above_L), place_L - below_L)
    trim = (large - size) // 2
    return matrix[trim : trim + size]
