"""Input noise for images that are already in memory as uint8: RandAugment, random crop, flip, warp, brightness, cutout.

Every image of a batch gets its own draw. Letters: B batch, C channels (1 or 3), H height, W width, P pixels.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.core.rand_augment import rand_augment
from tasks.core.warp import random_warp


@dataclass(frozen=True, slots=True)
class Noise:
    """What happens to an image before a net that learns sees it."""

    num_ops: int  # RandAugment N, operations per image; 0 = off
    magnitude: float  # RandAugment M
    crop: int  # pixels of reflected border before a random crop; 0 = off
    flip: bool  # mirror left and right with probability one half
    cutout: int  # side of the erased square in pixels; 0 = off
    rotate: float = 0.0  # degrees, most either way; 0 = off, as in all that follow
    shear: float = 0.0  # of the side, most either way along each axis
    perspective: float = 0.0  # of half a side, how far each corner moves inwards at most
    brightness: float = 0.0  # factor from 1 - brightness to 1 + brightness
    mixup: float = 0.0  # parameter of the Beta distribution of shares
    cutmix: float = 0.0
    size: int = 0  # pixels a side at which the net learns; 0 = those the images have


NONE = Noise(num_ops=0, magnitude=0.0, crop=0, flip=False, cutout=0)


def augment(img_BCHW: Tensor, noise: Noise, gen: torch.Generator) -> Tensor:
    """uint8 images to uint8 images: crop, flip, warp, brightness, RandAugment, cutout, size; mixing is core/mix.py.

    Noisy Student's are crop, flip, RandAugment and cutout, in this order.
    Without any noise whatever is given comes back, features of images (core/head.py) too.
    `gen` is a CPU generator; the draws depend on nothing else, so the same generator state gives the same batch.
    """
    if noise == NONE:
        return img_BCHW
    assert img_BCHW.dtype == torch.uint8, f"augment wants uint8, got {img_BCHW.dtype}"
    if noise.crop or noise.flip:
        img_BCHW = _windows(img_BCHW, noise.crop, noise.flip, gen)
    if noise.rotate or noise.shear or noise.perspective:
        img_BCHW = random_warp(img_BCHW, noise.rotate, noise.shear, noise.perspective, gen)
    if noise.brightness:
        img_BCHW = random_brightness(img_BCHW, noise.brightness, gen)
    if noise.num_ops:
        img_BCHW = rand_augment(img_BCHW, noise.num_ops, noise.magnitude, gen)
    if noise.cutout:
        img_BCHW = cutout(img_BCHW, noise.cutout, gen)
    return resized(img_BCHW, noise.size) if noise.size else img_BCHW


def random_crop(img_BCHW: Tensor, border: int, gen: torch.Generator) -> Tensor:
    """Shift each image by up to `border` pixels each way; the edge is filled with the image's reflection."""
    return _windows(img_BCHW, border, False, gen)


def random_flip(img_BCHW: Tensor, gen: torch.Generator) -> Tensor:
    """Mirror half of the images left to right."""
    return _windows(img_BCHW, 0, True, gen)


def _windows(img_BCHW: Tensor, border: int, flip: bool, gen: torch.Generator) -> Tensor:
    """Crop, then flip, each image by its own draw, in one copy of its pixels."""
    B, C, H, W = img_BCHW.shape
    shift_B2 = torch.randint(-border, border + 1, (B, 2), generator=gen) if border else torch.zeros(B, 2).long()
    row_BH, col_BW = (_reflect(torch.arange(side) + shift_B2[:, i, None], side) for i, side in ((0, H), (1, W)))
    if flip:
        flip_B1 = (torch.rand(B, generator=gen) < 0.5)[:, None]
        col_BW = torch.where(flip_B1, col_BW.flip(1), col_BW)
    from_B1P = (row_BH[:, :, None] * W + col_BW[:, None, :]).view(B, 1, H * W).to(img_BCHW.device)
    return img_BCHW.reshape(B, C, H * W).gather(2, from_B1P.expand(-1, C, -1)).view(B, C, H, W)


def random_brightness(img_BCHW: Tensor, most: float, gen: torch.Generator) -> Tensor:
    """Multiply each image by a factor of its own from 1 - most to 1 + most, cut off at 0 and 255."""
    factor_B = 1 + (2 * torch.rand(len(img_BCHW), generator=gen) - 1) * most
    factor_B111 = factor_B.clamp(min=0)[:, None, None, None].to(img_BCHW.device)
    return (img_BCHW * factor_B111).clamp(max=255).to(torch.uint8)


def resized(img_BCHW: Tensor, size: int) -> Tensor:
    """Images of `size` x `size` pixels, smoothed before they shrink."""
    scaled = F.interpolate(img_BCHW.float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
    return scaled.round().clamp(0, 255).to(torch.uint8)


def cutout(img_BCHW: Tensor, side: int, gen: torch.Generator) -> Tensor:
    """Erase (0) a square around a random pixel of each image, cut off at the edge (arXiv:1708.04552)."""
    B, _, H, W = img_BCHW.shape
    top_B1 = torch.randint(H, (B, 1), generator=gen) - side // 2
    left_B1 = torch.randint(W, (B, 1), generator=gen) - side // 2
    row_BH = (torch.arange(H) >= top_B1) & (torch.arange(H) < top_B1 + side)
    col_BW = (torch.arange(W) >= left_B1) & (torch.arange(W) < left_B1 + side)
    hole_B1HW = (row_BH[:, :, None] & col_BW[:, None, :])[:, None].to(img_BCHW.device)
    return img_BCHW * ~hole_B1HW


def _reflect(index: Tensor, size: int) -> Tensor:
    """Indices outside 0..size-1 folded back as `reflect` padding does (the edge pixel is not repeated)."""
    return torch.zeros_like(index) if size == 1 else (size - 1) - ((index % (2 * size - 2)) - (size - 1)).abs()
