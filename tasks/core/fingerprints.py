"""Fingerprints of images: what copies of one picture share, whatever their format, size and quality.

The hash is pHash as `imagehash.phash(image, hash_size=8, highfreq_factor=2)` computes it (a test compares both),
for a whole batch in two matrix products: the library takes an image at a time and is about a hundred times slower.
Shapes: N images, H x W pixels (SIDE x SIDE), K x K low frequencies.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE, LOW = 16, 8  # pixels of a thumbnail, frequencies kept in each direction
DECODED = 64  # pixels an image is decoded to first: how a JPEG is shrunk while it is decoded no longer shows at 16
_STEP = np.arange(SIDE)
_DCT_KH = 2 * np.cos(np.pi * _STEP[:LOW, None] * (2 * _STEP[None] + 1) / (2 * SIDE))
_UNIT_K = np.sqrt(np.where(_STEP[:LOW] == 0, 0.25, 0.5) / SIDE)  # makes the transform keep lengths
_WEIGHT_64 = np.uint64(1) << np.arange(63, -1, -1, dtype=np.uint64)
_MIRROR_K = np.where(_STEP[:LOW] % 2 == 0, 1.0, -1.0)  # mirroring an image turns the sign of its odd frequencies


def shrink(pixel_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image of DECODED x DECODED grey values as a thumbnail: the mean of each block, rounded half up."""
    step = DECODED // SIDE
    sum_HW = pixel_HW.astype(np.uint32).reshape(SIDE, step, SIDE, step).sum(axis=(1, 3))
    thumb_HW: NDArray[np.uint8] = ((sum_HW + step * step // 2) // (step * step)).astype(np.uint8)
    return thumb_HW


def hashes(thumb_NHW: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """64-bit pHash of grey thumbnails and of their mirror images."""
    wave_NKK = _frequencies(thumb_NHW)
    return _bits(wave_NKK), _bits(wave_NKK * _MIRROR_K)


def vectors(thumb_NHW: NDArray[np.uint8], mirrored_N: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """The low frequencies as one vector a thumbnail, [N, LOW * LOW], in grey levels; the first is the brightness.

    The length of a difference is the root mean square difference of the smoothed thumbnails.
    """
    wave_NKK = _frequencies(thumb_NHW) * _UNIT_K[:, None] * _UNIT_K / SIDE
    if mirrored_N is not None:
        wave_NKK[mirrored_N] *= _MIRROR_K
    return wave_NKK.reshape(len(wave_NKK), LOW * LOW)


def _frequencies(thumb_NHW: NDArray[np.uint8]) -> NDArray[np.float64]:
    if thumb_NHW.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"thumbnails are {SIDE} x {SIDE} pixels, not {thumb_NHW.shape[1:]}")
    wave_NKK: NDArray[np.float64] = _DCT_KH @ thumb_NHW.astype(np.float64) @ _DCT_KH.T
    return wave_NKK


def _bits(wave_NKK: NDArray[Any]) -> NDArray[np.uint64]:
    """One bit a frequency: above the median or not. Rounded first: last digits differ between processors."""
    wave_NF = np.round(wave_NKK.reshape(len(wave_NKK), LOW * LOW), 6)
    above_NF = wave_NF > np.median(wave_NF, axis=1, keepdims=True)
    bits_N: NDArray[np.uint64] = np.where(above_NF, _WEIGHT_64, np.uint64(0)).sum(axis=1, dtype=np.uint64)
    return bits_N
