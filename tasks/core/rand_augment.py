"""RandAugment (Cubuk et al., arXiv:1909.13719) for a batch of uint8 images, a draw of its own for each.

Images that drew the same operation go through it together: they are put next to each other once, and back once. Every
operation whose result depends on a value alone, given the image, is a table of 256 values. Letters: B batch, C channels
(1 or 3), H height, W width, P pixels, V values 0..255. The scale of the magnitude is that of Noisy Student's own code:
M/10 of the range, not clamped at M = 10, so M = 27 rotates by 81 degrees.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
PHOTOMETRIC = ("Brightness", "Color", "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize")
OPS = (*GEOMETRIC, *PHOTOMETRIC, "Identity")


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
    device, most = img_BCHW.device, _at_once(img_BCHW)
    order_B = op_B.argsort(stable=True)
    img_BCHW, op_B, level_B = img_BCHW.index_select(0, order_B.to(device)), op_B[order_B], level_B[order_B]
    moved = int((op_B < len(GEOMETRIC)).sum())
    from_K2HW = _positions(op_B[:moved], level_B[:moved], *img_BCHW.shape[-2:]).to(device)
    done = [_resample(*some) for some in _few(most, img_BCHW[:moved], from_K2HW)]
    ends = torch.bincount(op_B, minlength=len(OPS)).cumsum(0).tolist()
    for name, first, last in zip(OPS, [0, *ends], ends, strict=False):
        if name not in GEOMETRIC:
            levels = level_B[first:last, None, None].to(device)
            done += [_photometric(name, *some) for some in _few(most, img_BCHW[first:last], levels)]
    return torch.cat(done).index_select(0, order_B.argsort().to(device))


def _at_once(img_BCHW: Tensor) -> int:
    """Images that go through an operation together: on a CPU few enough to stay in its cache."""
    return len(img_BCHW) if img_BCHW.is_cuda else max(2**17 // img_BCHW[:1].numel(), 1)


def _few(most: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The rows of all tensors, at most so many at once; none where there are none."""
    return zip(*(torch.split(t, most) for t in tensors), strict=True) if len(tensors[0]) else iter(())


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


def _positions(op_B: Tensor, level_B: Tensor, H: int, W: int) -> Tensor:
    """(B, 2, H, W): x and y in the input of each pixel: affine_grid's, from one product for all images."""
    x_W, y_H = (torch.linspace(-1, 1, side) * ((side - 1) / side) if side > 1 else torch.zeros(1) for side in (W, H))
    pixel_3P = torch.stack([x_W.expand(H, W), y_H[:, None].expand(H, W), torch.ones(H, W)]).view(3, -1)
    return (_inverse_affine(op_B, level_B, H, W).view(-1, 3) @ pixel_3P).view(-1, 2, H, W)


def _resample(img_BCHW: Tensor, from_B2HW: Tensor) -> Tensor:
    """The nearest pixel; black from outside."""
    grid_BHW2 = from_B2HW.permute(0, 2, 3, 1)
    moved = F.grid_sample(img_BCHW.float(), grid_BHW2, mode="nearest", padding_mode="zeros", align_corners=False)
    return _bytes(moved)


def _photometric(name: str, img_BCHW: Tensor, level_B11: Tensor) -> Tensor:
    """One operation on the values of all images; `level_B11` is M/10 with its sign."""
    if name == "Posterize":
        dropped_bits = min(round(4 * float(level_B11.abs().max())), 7)
        return img_BCHW & (256 - 2**dropped_bits if dropped_bits else 255)
    if name in TABLES:
        return looked_up(img_BCHW, TABLES[name](img_BCHW, level_B11))
    factor_B111 = _factor(level_B11)[..., None]
    if name == "Color" and img_BCHW.shape[1] == 3:
        return _blend(img_BCHW.float(), _grey(img_BCHW), factor_B111)
    return _blend(img_BCHW.float(), _smooth(img_BCHW), factor_B111) if name == "Sharpness" else img_BCHW


def looked_up(img_BCHW: Tensor, table_BCV: Tensor) -> Tensor:
    """Each value replaced by what the table of its image and channel has for it: uint8 (B, C or 1, 256)."""
    B, C = table_BCV.shape[:2]
    first_BC1 = torch.arange(0, B * C * 256, 256, dtype=torch.int32, device=img_BCHW.device).view(B, C, 1)
    at = img_BCHW.reshape(B, C, -1).int().add_(first_BC1)
    return table_BCV.reshape(-1).index_select(0, at.view(-1)).view(img_BCHW.shape)


def _factor(level_B11: Tensor) -> Tensor:
    """1 keeps an image, 0 gives what it is blended with, more moves away from that."""
    return (1 + 0.9 * level_B11).clamp(min=0)


def _blend(img: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor * image + (1 - factor) * other, both float, cut off at 0 and 255, as uint8."""
    return _bytes((factor * img).add_((1 - factor) * other).clamp_(0, 255))


def _bytes(img: Tensor) -> Tensor:
    """Floats from 0 to 255 as uint8, cut off; the way over int16 is vectorised, the straight one is not."""
    return img.to(torch.int16).to(torch.uint8)


def _values(like: Tensor) -> Tensor:
    """The values 0..255 themselves, float."""
    return torch.arange(256, dtype=torch.float32, device=like.device)


def _brightness(img_BCHW: Tensor, level_B11: Tensor) -> Tensor:
    return _blend(_values(img_BCHW), torch.zeros((), device=img_BCHW.device), _factor(level_B11))


def _contrast(img_BCHW: Tensor, level_B11: Tensor) -> Tensor:
    mean_B11 = _grey(img_BCHW).mean(dim=(1, 2, 3), keepdim=True)[..., 0]
    return _blend(_values(img_BCHW), mean_B11, _factor(level_B11))


def _solarize(img_BCHW: Tensor, level_B11: Tensor) -> Tensor:
    value_V = _values(img_BCHW)
    bright_V = value_V >= 255 * (1 - float(level_B11.abs().max()))
    return torch.where(bright_V, 255 - value_V, value_V).to(torch.uint8).expand(len(img_BCHW), 1, 256)


def _auto_contrast(img_BCHW: Tensor, level_B11: Tensor) -> Tensor:
    """Stretch each channel to 0..255; a channel of one value stays."""
    low = img_BCHW.amin(dim=(2, 3)).float()[..., None]
    high = img_BCHW.amax(dim=(2, 3)).float()[..., None]
    stretched = ((_values(img_BCHW) - low) * (255 / (high - low))).clamp(0, 255)
    return torch.where(high > low, stretched, _values(img_BCHW)).to(torch.uint8)


def _equalize(img_BCHW: Tensor, level_B11: Tensor) -> Tensor:
    """Flatten each channel's histogram by PIL's rule: step = (pixels - count of the brightest value) // 255."""
    B, C, H, W = img_BCHW.shape
    value_BCP = img_BCHW.reshape(B, C, H * W)
    count_BCV = torch.zeros(B, C, 256, dtype=torch.int32, device=img_BCHW.device)
    count_BCV.scatter_add_(2, value_BCP.long(), torch.ones_like(value_BCP, dtype=torch.int32))
    brightest_BC1 = value_BCP.amax(dim=2, keepdim=True).long()
    step_BC1 = (H * W - count_BCV.gather(2, brightest_BC1)) // 255
    below_BCV = count_BCV.cumsum(dim=2, dtype=torch.int32) - count_BCV
    table_BCV = ((below_BCV + step_BC1 // 2) // step_BC1.clamp(min=1)).clamp(max=255)
    # The table of a value is the count below it; torchvision shifts a padded table, so value 0 always maps to 0.
    table_BCV[..., 0] = 0
    return torch.where(step_BC1 > 0, table_BCV, _values(img_BCHW).int()).to(torch.uint8)


def _grey(img_BCHW: Tensor) -> Tensor:
    """Luminance (ITU-R 601-2), rounded down to whole values, as float."""
    if img_BCHW.shape[1] == 1:
        return img_BCHW.float()
    red, green, blue = img_BCHW.float().unbind(dim=1)
    return (0.2989 * red).add_(0.587 * green).add_(0.114 * blue).floor_()[:, None]


def _smooth(img_BCHW: Tensor) -> Tensor:
    """PIL's SMOOTH filter (ones, 5 in the middle, over 13), rounded, as float; the border of one pixel stays."""
    img = img_BCHW.float()
    if min(img_BCHW.shape[-2:]) < 3:
        return img
    rows = (img[..., :-2, :] + img[..., 1:-1, :]).add_(img[..., 2:, :])
    nine = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:])
    out = img.clone()
    out[..., 1:-1, 1:-1] = nine.add_(img[..., 1:-1, 1:-1], alpha=4).div_(13).round_()
    return out


# What an image's values become, uint8 (B, C or 1, 256), for the operations that need no more to know than the value.
TABLES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Brightness": _brightness,
    "Contrast": _contrast,
    "Solarize": _solarize,
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
}
