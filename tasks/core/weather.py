"""Weather of the corruption benchmark, on whole batches. N images, C channels, H x W pixels, values float32 0..1."""

from collections.abc import Sequence

import numpy as np

from tasks.core.blur import Pixels, motion_blur, random_angles, zoomed
from tasks.core.draws import draw

FROST_COLOUR = (0.78, 0.86, 0.94)  # red, green, blue of the ice
GREY = (0.299, 0.587, 0.114)  # ITU-R 601-2


def snow(x_NCHW: Pixels, strength: tuple[float, ...], seed_N: Sequence[int]) -> Pixels:
    """Flakes that fall at each image's own slant, before and behind, over an image made paler."""
    mean, deviation, zoom, threshold, radius, sigma, kept = strength
    _, _, H, W = x_NCHW.shape
    flakes_N1HW = draw(seed_N, lambda rng: rng.normal(mean, deviation, (1, H, W)))
    flakes_N1HW = zoomed(flakes_N1HW, zoom)
    flakes_N1HW = np.where(flakes_N1HW < threshold, 0, np.clip(flakes_N1HW, 0, 1))
    slant_N = random_angles(-135, -45, [seed + 1 for seed in seed_N])
    flakes_N1HW = motion_blur(flakes_N1HW.astype(np.float32), radius, sigma, slant_N)
    pale = np.maximum(x_NCHW, grey(x_NCHW) * 1.5 + 0.5)
    out: Pixels = kept * x_NCHW + (1 - kept) * pale + flakes_N1HW + flakes_N1HW[..., ::-1, ::-1]
    return out


def fog(x_NCHW: Pixels, thickness: float, decay: float, seed_N: Sequence[int]) -> Pixels:
    """A cloud of many scales added, then as dark again as the brightest pixel was."""
    brightest_N111 = x_NCHW.max(axis=(1, 2, 3), keepdims=True)
    cloud_N1HW = plasma(x_NCHW.shape[2], x_NCHW.shape[3], decay, seed_N)[:, None]
    # A black image stays black: its brightest pixel is 0, and so is the factor.
    out: Pixels = (x_NCHW + thickness * cloud_N1HW) * (brightest_N111 / (brightest_N111 + thickness))
    return out


def frost(x_NCHW: Pixels, image_weight: float, frost_weight: float, seed_N: Sequence[int]) -> Pixels:
    """Ice over the image. The benchmark lays photographs of frost over it, which are not ours to ship: here the ice is
    drawn, ridges of a cloud as crystals on a bright ground."""
    _, C, H, W = x_NCHW.shape
    ridge_NHW = 1 - np.abs(2 * plasma(H, W, 1.75, seed_N) - 1)
    ground_NHW = plasma(H, W, 3.0, [seed + 1 for seed in seed_N])
    ice_NHW = np.clip(0.25 + 0.45 * ground_NHW + 0.5 * ridge_NHW**4, 0, 1)
    colour_C = np.array(FROST_COLOUR if C == 3 else (sum(w * c for w, c in zip(GREY, FROST_COLOUR, strict=True)),))
    ice_NCHW = ice_NHW[:, None] * colour_C.astype(np.float32)[:, None, None]
    return image_weight * x_NCHW + frost_weight * ice_NCHW


def brightness(x_NCHW: Pixels, added: float) -> Pixels:
    """`added` to the value of HSV, hue and saturation as they were: every channel grows by the same factor.

    Black has neither hue nor saturation and turns grey.
    """
    value_N1HW = x_NCHW.max(axis=1, keepdims=True)
    brighter_N1HW = np.clip(value_N1HW + added, 0, 1)
    scaled = x_NCHW * (brighter_N1HW / np.where(value_N1HW > 0, value_N1HW, 1))
    out: Pixels = np.where(value_N1HW > 0, scaled, brighter_N1HW).astype(np.float32)
    return out


def grey(x_NCHW: Pixels) -> Pixels:
    """Luminance (N, 1, H, W)."""
    if x_NCHW.shape[1] == 1:
        return x_NCHW
    weight_C = np.array(GREY, np.float32)
    return np.tensordot(x_NCHW, weight_C, axes=(1, 0))[:, None]


def plasma(H: int, W: int, decay: float, seed_N: Sequence[int]) -> Pixels:
    """Clouds (N, H, W) from 0 to 1 by the diamond-square algorithm (Fournier, Fussell & Carpenter, 1982).

    From the whole square down, the middles of squares and then of their edges become the mean of their four neighbours
    (around the border, as on a torus) plus noise whose amplitude falls by `decay`, squared, at each step.
    """
    size = 1 << (max(H, W, 2) - 1).bit_length()
    noise_NSS = draw(seed_N, lambda rng: rng.uniform(-1, 1, (size, size)))
    cloud_NSS, step, amplitude = np.zeros_like(noise_NSS), size, 1.0
    while step >= 2:
        half = step // 2
        corner = cloud_NSS[:, ::step, ::step]
        square = corner + np.roll(corner, -1, 1)
        square = square + np.roll(square, -1, 2)
        middle = np.s_[:, half::step, half::step]
        cloud_NSS[middle] = square / 4 + amplitude * noise_NSS[middle]
        centre = cloud_NSS[middle]
        top, left = np.s_[:, ::step, half::step], np.s_[:, half::step, ::step]
        above_below = centre + np.roll(centre, 1, 1) + corner + np.roll(corner, -1, 2)
        left_right = centre + np.roll(centre, 1, 2) + corner + np.roll(corner, -1, 1)
        cloud_NSS[top] = above_below / 4 + amplitude * noise_NSS[top]
        cloud_NSS[left] = left_right / 4 + amplitude * noise_NSS[left]
        step, amplitude = half, amplitude / decay**2
    cloud_NSS -= cloud_NSS.min(axis=(1, 2), keepdims=True)
    cloud_NSS /= cloud_NSS.max(axis=(1, 2), keepdims=True)
    return cloud_NSS[:, :H, :W]
