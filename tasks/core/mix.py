"""Two images as one, with both their targets: mixup and CutMix. Letters: B batch, C channels or classes, H, W."""

import torch
from torch import Tensor


def mix(
    img_BCHW: Tensor, targets: list[Tensor], mixup: float, cutmix: float, gen: torch.Generator
) -> tuple[Tensor, list[Tensor]]:
    """Mix each image with the one before it of its kind, and their targets by the same shares.

    `img_BCHW` (uint8) holds the images of all kinds (labeled, pseudo-labeled) one after the other, `targets` their
    targets kind by kind: a kind is never mixed with another one, so that their weights in the loss stay. `mixup` and
    `cutmix` are the parameter of Beta(a, a), 0 = off; with both on each image draws which. Both off changes nothing.
    """
    if not mixup and not cutmix:
        return img_BCHW, targets
    images, mixed = [], []
    for img, target_BC in zip(torch.split(img_BCHW, [len(t) for t in targets]), targets, strict=True):
        cut_B = torch.rand(len(img), generator=gen) < (0.5 if mixup and cutmix else float(cutmix > 0))
        blended, share_B = blend(img, beta(len(img), mixup or cutmix, gen))
        pasted, kept_B = paste(img, beta(len(img), cutmix or mixup, gen), gen)
        images.append(torch.where(cut_B[:, None, None, None].to(img.device), pasted, blended))
        share_B1 = torch.where(cut_B, kept_B, share_B)[:, None].to(target_BC.device)
        mixed.append(share_B1 * target_BC + (1 - share_B1) * target_BC.roll(1, 0))
    return torch.cat(images), mixed


def blend(img_BCHW: Tensor, share_B: Tensor) -> tuple[Tensor, Tensor]:
    """mixup (Zhang et al., arXiv:1710.09412): share * image + (1 - share) * the one before it, and the shares."""
    share_B111 = share_B[:, None, None, None].to(img_BCHW.device)
    mixed = share_B111 * img_BCHW + (1 - share_B111) * img_BCHW.roll(1, 0)
    return mixed.round().to(torch.uint8), share_B


def paste(img_BCHW: Tensor, share_B: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """CutMix (Yun et al., arXiv:1905.04899): a box of 1 - share of the area, at a random place and cut off at the edge,
    shows the image before it. Returns the images and the share (B,) that is left of each."""
    B, _, H, W = img_BCHW.shape
    side_B = (1 - share_B).sqrt()
    row_BH = _inside(torch.randint(H, (B,), generator=gen), side_B * H, H)
    col_BW = _inside(torch.randint(W, (B,), generator=gen), side_B * W, W)
    box_BHW = row_BH[:, :, None] & col_BW[:, None, :]
    pasted = torch.where(box_BHW[:, None].to(img_BCHW.device), img_BCHW.roll(1, 0), img_BCHW)
    return pasted, 1 - box_BHW.float().mean(dim=(1, 2))


def beta(count: int, parameter: float, gen: torch.Generator) -> Tensor:
    """float32 (count,) from Beta(parameter, parameter): the share of one of two equal gamma draws."""
    gamma_2B = torch._standard_gamma(torch.full((2, count), parameter, dtype=torch.float64), generator=gen)
    return (gamma_2B[0] / gamma_2B.sum(dim=0)).float()


def _inside(centre_B: Tensor, length_B: Tensor, size: int) -> Tensor:
    """bool (B, size): the pixels of a stretch of `length` around `centre`, as far as they exist."""
    half_B1 = (length_B.int() // 2)[:, None]
    at = torch.arange(size)
    return (at >= centre_B[:, None] - half_B1) & (at < centre_B[:, None] + half_B1)
