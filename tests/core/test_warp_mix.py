"""Rotation, shear and perspective against torchvision; mixup and CutMix against their equations, image by image."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from tasks.core.augment import random_brightness, resized
from tasks.core.mix import beta, blend, mix, paste
from tasks.core.warp import affine, homography, random_warp, resample

LINEAR = InterpolationMode.BILINEAR
STILL = torch.zeros(1, 2, dtype=torch.float64)


@pytest.mark.parametrize("degrees", [0.0, 17.0, -90.0, 133.0])
def test_a_turn_is_torchvisions(degrees: float) -> None:
    """Counter-clockwise, about the centre, between pixels linearly."""
    img_BCHW = _smooth(3, 20, 28)
    ours = resample(img_BCHW, affine(torch.tensor([degrees], dtype=torch.float64), STILL))
    assert _is_close(ours, tv.rotate(img_BCHW, degrees, LINEAR))


@pytest.mark.parametrize("share", [0.2, -0.7])
def test_a_slant_is_torchvisions(share: float) -> None:
    """`share` of the side for each pixel of height, against torchvision's angle."""
    img_BCHW, slant = _smooth(1, 24, 16), [math.degrees(math.atan(share)), 0.0]
    flat = torch.zeros(1, dtype=torch.float64)
    ours = resample(img_BCHW, affine(flat, torch.tensor([[share, 0.0]], dtype=torch.float64)))
    assert _is_close(ours, tv.affine(img_BCHW, 0.0, [0, 0], 1.0, slant, LINEAR))


def test_perspective_is_torchvisions() -> None:
    """Corners moved inwards by whole pixels, as torchvision wants them."""
    img_BCHW, (H, W) = _smooth(3, 18, 30), (18, 30)
    start = torch.tensor([[0, 0], [W - 1, 0], [W - 1, H - 1], [0, H - 1]])
    inwards = torch.tensor([[3, 1], [0, 4], [6, 2], [1, 0]])
    end = start + inwards * torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    to_input_B33 = homography(start.double() - torch.tensor([W / 2, H / 2]), inwards.double()[None])
    assert _is_close(resample(img_BCHW, to_input_B33), tv.perspective(img_BCHW, start.tolist(), end.tolist(), LINEAR))


def test_a_random_warp_stays_within_its_limits_and_varies() -> None:
    """Nothing drawn changes nothing; turns are spread evenly to both sides and no further than asked."""
    img_BCHW = _smooth(1, 16, 16).expand(300, -1, -1, -1)
    gen = torch.Generator().manual_seed(0)
    assert torch.equal(random_warp(img_BCHW, 0.0, 0.0, 0.0, gen), img_BCHW)
    line_BCHW = torch.zeros(300, 1, 33, 33, dtype=torch.uint8)
    line_BCHW[:, :, 16] = 255  # a level line; where it leaves the right half says the angle
    rows_BH = random_warp(line_BCHW, 30.0, 0.0, 0.0, gen)[:, 0, :, 26].float()
    angle_B = torch.atan2(16 - (rows_BH * torch.arange(33)).sum(1) / rows_BH.sum(1), torch.tensor(10.0)).rad2deg()
    assert angle_B.abs().max() < 33
    assert stats.kstest(angle_B.numpy(), stats.uniform(-30, 60).cdf).pvalue > 0.001


def test_brightness_multiplies_each_image() -> None:
    """One factor an image, evenly from 1 - most to 1 + most."""
    img_BCHW = torch.full((400, 1, 2, 2), 100, dtype=torch.uint8)
    out = random_brightness(img_BCHW, 0.4, torch.Generator().manual_seed(0))
    factor_B = out[:, 0, 0, 0].double() / 100
    assert torch.equal(out, out[:, :, :1, :1].expand_as(out))
    assert stats.kstest(factor_B.numpy(), stats.uniform(0.595, 0.8).cdf).pvalue > 0.001


def test_a_smaller_image_is_torchvisions() -> None:
    """Antialiased, as v2.Resize shrinks a tensor."""
    img_BCHW = _smooth(3, 32, 32)
    assert _is_close(resized(img_BCHW, 20), tv.resize(img_BCHW, [20, 20], antialias=True))


def test_mixup_is_its_equation() -> None:
    """x~ = s x_i + (1 - s) x_j and y~ likewise, j the image before, in a plain loop."""
    img_BCHW, target_BC = _random(5), torch.eye(5)
    share_B = torch.tensor([0.0, 0.3, 0.5, 0.9, 1.0])
    out, same = blend(img_BCHW, share_B)
    assert torch.equal(same, share_B)
    for i in range(5):
        expected = share_B[i] * img_BCHW[i] + (1 - share_B[i]) * img_BCHW[i - 1]
        assert (out[i] - expected).abs().max() <= 0.5
    mixed, [target] = mix(img_BCHW, [target_BC], 1.0, 0.0, torch.Generator().manual_seed(0))
    for i in range(5):
        share, rest = target[i, i], target[i, i - 1]
        assert share + rest == pytest.approx(1)
        assert (mixed[i] - (share * img_BCHW[i] + rest * img_BCHW[i - 1])).abs().max() <= 0.51


def test_cutmix_pastes_a_box_and_counts_its_pixels() -> None:
    """Every pixel is one image's or the other's, the others' form a rectangle, and the target has its true share."""
    img_BCHW = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 9, 12)
    out, [target_BC] = mix(img_BCHW, [torch.eye(6)], 0.0, 1.0, torch.Generator().manual_seed(3))
    boxes = 0
    for i in range(6):
        other_HW = out[i, 0] == (i - 1) % 6
        assert torch.equal(other_HW | (out[i, 0] == i), torch.ones(9, 12, dtype=torch.bool))
        assert torch.equal(other_HW, other_HW.any(dim=1)[:, None] & other_HW.any(dim=0))
        assert target_BC[i, i - 1] == pytest.approx(other_HW.float().mean().item(), abs=1e-6)
        boxes += int(other_HW.any())
    assert boxes > 3
    whole, kept_B = paste(img_BCHW, torch.zeros(6), torch.Generator().manual_seed(0))
    assert ((whole == img_BCHW.roll(1, 0)).float().mean(dim=(1, 2, 3)) - (1 - kept_B)).abs().max() < 1e-6


def test_kinds_are_never_mixed_with_each_other() -> None:
    """Labeled images mix with labeled ones; with both settings off nothing is drawn and nothing changes."""
    img_BCHW = torch.tensor([10] * 4 + [200] * 8, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)
    targets = [torch.eye(4), torch.full((8, 4), 0.25)]
    for mixup, cutmix in ((1.0, 0.0), (0.0, 1.0), (0.4, 0.8)):
        out, mixed = mix(img_BCHW, targets, mixup, cutmix, torch.Generator().manual_seed(1))
        assert torch.equal(out, img_BCHW)
        assert not torch.equal(mixed[0], targets[0])
        torch.testing.assert_close(mixed[1], targets[1])
    gen = torch.Generator().manual_seed(1)
    state = gen.get_state()
    assert mix(img_BCHW, targets, 0.0, 0.0, gen)[1] is targets
    assert torch.equal(gen.get_state(), state)


@pytest.mark.parametrize("parameter", [0.2, 1.0, 4.0])
def test_shares_are_beta(parameter: float) -> None:
    """Against scipy's distribution."""
    share_B = beta(2000, parameter, torch.Generator().manual_seed(0))
    assert stats.kstest(share_B.double().numpy(), stats.beta(parameter, parameter).cdf).pvalue > 0.001


def _smooth(channels: int, height: int, width: int) -> Tensor:
    """One picture without hard edges: positions may differ by rounding."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = [127 + 60 * (x / (4 + c)).sin() + 60 * (y / (5 + c)).cos() for c in range(channels)]
    return torch.stack(waves).to(torch.uint8)[None]


def _random(n: int) -> Tensor:
    return torch.randint(0, 256, (n, 3, 6, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def _is_close(ours: Tensor, theirs: Tensor) -> bool:
    """One grey level, but for a few pixels at the edge, where rounding decides what is inside."""
    off = (ours.int() - theirs.int()).abs()
    return bool((off <= 1).float().mean() > 0.99)
