"""Rotation, shear and perspective by random amounts, for uint8 images: one resampling for all three.

Letters: B batch, C channels, H height, W width. Positions are pixels from the image's centre, (x, y) with y downwards.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def random_warp(img_BCHW: Tensor, rotate: float, shear: float, perspective: float, gen: torch.Generator) -> Tensor:
    """Turn each image by up to `rotate` degrees either way, slant it by up to `shear` of its side along each axis, and
    move each corner inwards by up to `perspective` half sides, every amount drawn evenly and for each image anew."""
    B, _, H, W = img_BCHW.shape
    turn_B, slant_B2 = _even((B,), rotate, gen), _even((B, 2), shear, gen)
    inwards_B42 = torch.rand((B, 4, 2), generator=gen, dtype=torch.float64) * perspective
    inwards_B42 *= torch.tensor([W / 2, H / 2])
    to_input_B33 = affine(turn_B, slant_B2) @ homography(corners(H, W), inwards_B42)
    return resample(img_BCHW, to_input_B33)


def affine(turn_B: Tensor, slant_B2: Tensor) -> Tensor:
    """(B, 3, 3): where the pixels of the turned (degrees, counter-clockwise) and then slanted image lay before."""
    cos, sin = turn_B.deg2rad().cos(), turn_B.deg2rad().sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    turned = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)
    slant_x, slant_y = slant_B2.unbind(dim=1)
    slanted = torch.stack([one, slant_x, zero, slant_y, one, zero, zero, zero, one], dim=1).view(-1, 3, 3)
    return turned @ slanted


def corners(H: int, W: int) -> Tensor:
    """(4, 2): the image's corners, clockwise from the top left."""
    x, y = W / 2, H / 2
    return torch.tensor([[-x, -y], [x, -y], [x, y], [-x, y]], dtype=torch.float64)


def homography(corner_42: Tensor, inwards_B42: Tensor) -> Tensor:
    """(B, 3, 3): where the pixels lay before each corner moved inwards: the map that four pairs of points decide.

    Up to half of half a side the four points always stay convex, and the map exists.
    """
    B = len(inwards_B42)
    after_B42 = corner_42 - corner_42.sign() * inwards_B42
    x, y = after_B42.unbind(dim=2)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    before_x, before_y = corner_42.unbind(dim=1)
    rows_x = torch.stack([x, y, one, zero, zero, zero, -before_x * x, -before_x * y], dim=2)
    rows_y = torch.stack([zero, zero, zero, x, y, one, -before_y * x, -before_y * y], dim=2)
    values_B81 = torch.cat([before_x, before_y]).expand(B, 8)[:, :, None]
    solved_B8 = torch.linalg.solve(torch.cat([rows_x, rows_y], dim=1), values_B81)[:, :, 0]
    return torch.cat([solved_B8, torch.ones(B, 1, dtype=torch.float64)], dim=1).view(B, 3, 3)


def resample(img_BCHW: Tensor, to_input_B33: Tensor) -> Tensor:
    """Images whose pixel p shows the input at `to_input` p, between pixels mixed linearly, black from outside."""
    _, _, H, W = img_BCHW.shape
    y, x = torch.meshgrid(torch.arange(H) - (H - 1) / 2, torch.arange(W) - (W - 1) / 2, indexing="ij")
    pixel_P3 = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(-1, 3)
    at_BP3 = pixel_P3 @ to_input_B33.float().transpose(1, 2)
    grid_BP2 = at_BP3[..., :2] / at_BP3[..., 2:] * torch.tensor([2 / W, 2 / H])
    grid_BHW2 = grid_BP2.view(-1, H, W, 2).to(img_BCHW.device)
    moved = F.grid_sample(img_BCHW.float(), grid_BHW2, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.round().to(torch.uint8)


def _even(shape: tuple[int, ...], most: float, gen: torch.Generator) -> Tensor:
    """Float64 numbers from -most to most."""
    return (2 * torch.rand(shape, generator=gen, dtype=torch.float64) - 1) * most
