"""Input noise for images that are already in memory as uint8: RandAugment, random crop, flip, cutout.

Every image of a batch gets its own draw, and images that drew the same operation go through it together. Letters: B
batch, C channels (1 or 3), H height, W width. RandAugment: Cubuk et al., arXiv:1909.13719. The scale of its magnitude
is that of Noisy Student's own code: M/10 of the range, not clamped at M = 10, so M = 27 rotates by 81 degrees.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
PHOTOMETRIC = ("Brightness", "Color", "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize")
OPS = (*GEOMETRIC, *PHOTOMETRIC, "Identity")


@dataclass(frozen=True, slots=True)
class Noise:
    """What happens to an image before a net that learns sees it."""

    num_ops: int  # RandAugment N, operations per image; 0 = off
    magnitude: float  # RandAugment M
    crop: int  # pixels of reflected border before a random crop; 0 = off
    flip: bool  # mirror left and right with probability one half
    cutout: int  # side of the erased square in pixels; 0 = off


def augment(img_BCHW: Tensor, noise: Noise, gen: torch.Generator) -> Tensor:
    """uint8 images to uint8 images: crop, flip, RandAugment, cutout, in Noisy Student's order.

    `gen` is a CPU generator; the draws depend on nothing else, so the same generator state gives the same batch.
    """
    assert img_BCHW.dtype == torch.uint8, f"augment wants uint8, got {img_BCHW.dtype}"
    if noise.crop:
        img_BCHW = random_crop(img_BCHW, noise.crop, gen)
    if noise.flip:
        img_BCHW = random_flip(img_BCHW, gen)
    if noise.num_ops:
        img_BCHW = rand_augment(img_BCHW, noise.num_ops, noise.magnitude, gen)
    if noise.cutout:
        img_BCHW = cutout(img_BCHW, noise.cutout, gen)
    return img_BCHW


def random_crop(img_BCHW: Tensor, border: int, gen: torch.Generator) -> Tensor:
    """Shift each image by up to `border` pixels each way; the edge is filled with the image's reflection."""
    B, _, H, W = img_BCHW.shape
    shift_B2 = torch.randint(-border, border + 1, (B, 2), generator=gen)
    row_BH = _reflect(torch.arange(H) + shift_B2[:, :1], H).to(img_BCHW.device)
    col_BW = _reflect(torch.arange(W) + shift_B2[:, 1:], W).to(img_BCHW.device)
    each_B = torch.arange(B, device=img_BCHW.device)
    return img_BCHW.permute(0, 2, 3, 1)[each_B[:, None, None], row_BH[:, :, None], col_BW[:, None, :]].permute(
        0, 3, 1, 2
    )


def random_flip(img_BCHW: Tensor, gen: torch.Generator) -> Tensor:
    """Mirror half of the images left to right."""
    flip_B = (torch.rand(len(img_BCHW), generator=gen) < 0.5).to(img_BCHW.device)
    return torch.where(flip_B[:, None, None, None], img_BCHW.flip(-1), img_BCHW)


def cutout(img_BCHW: Tensor, side: int, gen: torch.Generator) -> Tensor:
    """Erase (0) a square around a random pixel of each image, cut off at the edge (arXiv:1708.04552)."""
    B, _, H, W = img_BCHW.shape
    top_B1 = torch.randint(H, (B, 1), generator=gen) - side // 2
    left_B1 = torch.randint(W, (B, 1), generator=gen) - side // 2
    row_BH = (torch.arange(H) >= top_B1) & (torch.arange(H) < top_B1 + side)
    col_BW = (torch.arange(W) >= left_B1) & (torch.arange(W) < left_B1 + side)
    hole_B1HW = (row_BH[:, :, None] & col_BW[:, None, :])[:, None].to(img_BCHW.device)
    return img_BCHW.masked_fill(hole_B1HW, 0)


def rand_augment(img_BCHW: Tensor, num_ops: int, magnitude: float, gen: torch.Generator) -> Tensor:
    """Apply `num_ops` operations, drawn for each image from OPS with equal chance and a random sign, one after another.

    The operations are torchvision's 14. At M = 10 they reach: shear 0.3, rotation 30 degrees, translation an eighth of
    the side (Noisy Student's choice for 32-pixel images), Brightness, Color, Contrast and Sharpness factor 1 +- 0.9,
    Posterize 4 bits, Solarize threshold 0. Posterize and Solarize grow stronger with M as in torchvision; in Noisy
    Student's code they grow weaker. Pixels from outside are 0, the nearest pixel is taken.
    """
    B = len(img_BCHW)
    for _ in range(num_ops):
        op_B = torch.randint(len(OPS), (B,), generator=gen)
        signed_B = (torch.randint(2, (B,), generator=gen) * 2 - 1) * (magnitude / 10)
        img_BCHW = apply_ops(img_BCHW, op_B, signed_B)
    return img_BCHW


def apply_ops(img_BCHW: Tensor, op_B: Tensor, level_B: Tensor) -> Tensor:
    """One operation for each image: `op_B` indexes OPS, `level_B` is M/10 with its sign (both on the CPU)."""
    out_BCHW = img_BCHW.clone()
    device = img_BCHW.device
    moved_K = (op_B < len(GEOMETRIC)).nonzero().flatten()
    if len(moved_K):
        theta_K23 = _inverse_affine(op_B[moved_K], level_B[moved_K], *img_BCHW.shape[-2:]).to(device)
        out_BCHW[moved_K.to(device)] = _resample(img_BCHW[moved_K.to(device)], theta_K23)
    for index, name in enumerate(PHOTOMETRIC, start=len(GEOMETRIC)):
        drawn_K = (op_B == index).nonzero().flatten()
        if len(drawn_K):
            level_K111 = level_B[drawn_K][:, None, None, None].to(device)
            out_BCHW[drawn_K.to(device)] = _photometric(name, img_BCHW[drawn_K.to(device)], level_K111)
    return out_BCHW


def _reflect(index: Tensor, size: int) -> Tensor:
    """Indices outside 0..size-1 folded back as `reflect` padding does (the edge pixel is not repeated)."""
    return torch.zeros_like(index) if size == 1 else (size - 1) - ((index % (2 * size - 2)) - (size - 1)).abs()


def _inverse_affine(op_B: Tensor, level_B: Tensor, H: int, W: int) -> Tensor:
    """(B, 2, 3) maps from output to input in the -1..1 coordinates of grid_sample.

    Shear keeps the top left corner in place, as Noisy Student and torchvision do; rotation keeps the centre.
    """
    shear_x, shear_y, move_x, move_y, turn = (torch.where(op_B == i, level_B, 0.0) for i in range(len(GEOMETRIC)))
    shear_x, shear_y = shear_x * 0.3, shear_y * 0.3
    dx, dy = (move_x * (W / 8)).trunc(), (move_y * (H / 8)).trunc()
    angle = torch.deg2rad(turn * 30)
    cos, sin = angle.cos(), angle.sin()
    x_row = torch.stack([cos, (shear_x - sin) * (H / W), (shear_x * H - 2 * dx) / W], dim=1)
    y_row = torch.stack([(shear_y + sin) * (W / H), cos, (shear_y * W - 2 * dy) / H], dim=1)
    return torch.stack([x_row, y_row], dim=1)


def _resample(img_BCHW: Tensor, theta_B23: Tensor) -> Tensor:
    grid_BHW2 = F.affine_grid(theta_B23, list(img_BCHW.shape), align_corners=False)
    moved = F.grid_sample(img_BCHW.float(), grid_BHW2, mode="nearest", padding_mode="zeros", align_corners=False)
    return moved.to(torch.uint8)


def _photometric(name: str, img_BCHW: Tensor, level_B111: Tensor) -> Tensor:
    """One operation on the values of all images; `level_B111` is M/10 with its sign."""
    factor_B111 = (1 + 0.9 * level_B111).clamp(min=0)
    if name == "Brightness":
        return _blend(img_BCHW, torch.zeros(()), factor_B111)
    if name == "Color":
        return _blend(img_BCHW, _grey(img_BCHW), factor_B111) if img_BCHW.shape[1] == 3 else img_BCHW
    if name == "Contrast":
        return _blend(img_BCHW, _grey(img_BCHW).mean(dim=(1, 2, 3), keepdim=True), factor_B111)
    if name == "Sharpness":
        return _blend(img_BCHW, _smooth(img_BCHW), factor_B111)
    return _tonal(name, img_BCHW, float(level_B111.abs().max()))


def _tonal(name: str, img_BCHW: Tensor, strength: float) -> Tensor:
    """The operations without a sign; `strength` is M/10."""
    if name == "Posterize":
        dropped_bits = min(round(4 * strength), 7)
        return img_BCHW & torch.tensor(256 - 2**dropped_bits if dropped_bits else 255, dtype=torch.uint8)
    if name == "Solarize":
        return torch.where(img_BCHW >= 255 * (1 - strength), 255 - img_BCHW, img_BCHW)
    return _auto_contrast(img_BCHW) if name == "AutoContrast" else _equalize(img_BCHW)


def _blend(img_BCHW: Tensor, other: Tensor, factor_B111: Tensor) -> Tensor:
    """`factor` 1 keeps the image, 0 gives the other, above 1 moves away from it."""
    mixed = factor_B111 * img_BCHW + (1 - factor_B111) * other.to(img_BCHW.device)
    return mixed.clamp(0, 255).to(torch.uint8)


def _grey(img_BCHW: Tensor) -> Tensor:
    """Luminance (ITU-R 601-2), rounded down to whole values, as float."""
    if img_BCHW.shape[1] == 1:
        return img_BCHW.float()
    red, green, blue = img_BCHW.float().unbind(dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).floor()[:, None]


def _smooth(img_BCHW: Tensor) -> Tensor:
    """PIL's SMOOTH filter, rounded; the border of one pixel stays."""
    C, H, W = img_BCHW.shape[1:]
    if min(H, W) < 3:
        return img_BCHW
    kernel_33 = torch.ones(3, 3, device=img_BCHW.device)
    kernel_33[1, 1] = 5
    out = img_BCHW.float()
    out[..., 1:-1, 1:-1] = F.conv2d(out, (kernel_33 / 13).expand(C, 1, 3, 3), groups=C).round()
    return out


def _auto_contrast(img_BCHW: Tensor) -> Tensor:
    """Stretch each channel to 0..255; a channel of one value stays."""
    low = img_BCHW.amin(dim=(2, 3), keepdim=True).float()
    high = img_BCHW.amax(dim=(2, 3), keepdim=True).float()
    stretched = ((img_BCHW - low) * (255 / (high - low))).clamp(0, 255)
    return torch.where(high > low, stretched, img_BCHW.float()).to(torch.uint8)


def _equalize(img_BCHW: Tensor) -> Tensor:
    """Flatten each channel's histogram by PIL's rule: step = (pixels - count of the brightest value) // 255."""
    B, C, H, W = img_BCHW.shape
    value_KP = img_BCHW.reshape(B * C, H * W).long()
    count_KV = torch.zeros(B * C, 256, dtype=torch.long, device=img_BCHW.device)
    count_KV.scatter_add_(1, value_KP, torch.ones_like(value_KP))
    brightest_K1 = value_KP.amax(dim=1, keepdim=True)
    step_K1 = (H * W - count_KV.gather(1, brightest_K1)) // 255
    below_KV = count_KV.cumsum(dim=1) - count_KV
    table_KV = ((below_KV + step_K1 // 2) // step_K1.clamp(min=1)).clamp(max=255)
    # The table of a value is the count below it; torchvision shifts a padded table, so value 0 always maps to 0.
    table_KV[:, 0] = 0
    table_KV = torch.where(step_K1 > 0, table_KV, torch.arange(256, device=img_BCHW.device))
    return table_KV.gather(1, value_KP).reshape(B, C, H, W).to(torch.uint8)
