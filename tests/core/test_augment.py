"""Noise: each operation against torchvision, independent draws, and what must never change."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.core.augment import Noise, augment, cutout, random_crop
from tasks.core.rand_augment import GEOMETRIC, OPS, apply_ops, rand_augment

# One grey level where values are cut off after a blend: torchvision computes 1 - factor in double precision.
GREY_LEVELS = 1


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize(("channels", "height", "width"), [(1, 16, 16), (3, 24, 40)])
def test_each_operation_agrees_with_torchvision(name: str, channels: int, height: int, width: int) -> None:
    """Against v2.RandAugment's own: geometry is equal pixel for pixel, values differ by one grey level at most, at
    every sign and magnitude."""
    img_BCHW = _pictures(channels, height, width)
    for level in (0.0, 0.3, -0.5, 1.0, -1.0, 2.7):
        got = apply_ops(img_BCHW, torch.full((len(img_BCHW),), OPS.index(name)), torch.full((len(img_BCHW),), level))
        want = torch.stack([_torchvision(img, name, level) for img in img_BCHW])
        off = (got.int() - want.int()).abs().max().item()
        assert off <= (0 if name.startswith(("Shear", "Trans", "Rot", "Post", "Solar", "Equal")) else GREY_LEVELS), (
            level
        )


def test_the_draws_are_torchvisions() -> None:
    """One picture, many times, M = 5 here and magnitude 15 of 30 there: every outcome (operation and sign) is as often
    here as in v2.RandAugment, and as it must be: 1/14, half of it for each sign. Translations, whose range differs,
    stand for themselves."""
    from scipy.stats import chi2_contingency, chisquare
    from torchvision.transforms import v2

    picture = _pictures(3, 16, 16)[3:4]
    known: dict[bytes, tuple[str, bool]] = {}
    for number, name in enumerate(OPS):
        for sign in (1.0, -1.0):
            out = apply_ops(picture, torch.tensor([number]), torch.tensor([0.5 * sign]))
            known.setdefault(out.numpy().tobytes(), (name, sign > 0))
    assert len(known) == 2 * 9 + 5, "pictures by which operations cannot be told apart"
    ours = rand_augment(picture.expand(4200, -1, -1, -1), 1, 5.0, torch.Generator().manual_seed(0))
    counts = Counter(known[image.numpy().tobytes()] for image in ours)
    expected = {key: 4200 / 14 / (2 if _signed(key[0]) else 1) for key in known.values()}
    assert chisquare([counts[key] for key in expected], list(expected.values())).pvalue > 0.001

    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = v2.RandAugment(num_ops=1, magnitude=15)
        theirs = Counter(_nearest(reference(picture)[0], known) for _ in range(1400))
    same = [key for key in expected if not key[0].startswith("Translate")]
    assert chi2_contingency([[counts[key] for key in same], [theirs[key] for key in same]]).pvalue > 0.001


def _signed(name: str) -> bool:
    return name in GEOMETRIC or name in {"Brightness", "Color", "Contrast", "Sharpness"}


def _nearest(image: Tensor, known: dict[bytes, tuple[str, bool]]) -> tuple[str, bool]:
    """Which outcome an image is; a grey level may differ."""
    found = torch.stack([torch.frombuffer(bytearray(b), dtype=torch.uint8).view(image.shape) for b in known])
    off = (found.int() - image.int()).abs().flatten(1).amax(dim=1)
    return list(known.values())[int(off.argmin())] if off.min() <= GREY_LEVELS else ("none", True)


def test_magnitude_27_is_the_papers() -> None:
    """M = 27 rotates by 81 degrees: the scale is not clamped at 10."""
    img_BCHW = _pictures(1, 16, 16)
    rotate = torch.full((len(img_BCHW),), OPS.index("Rotate"))
    from torchvision.transforms.functional import rotate as reference

    assert torch.equal(apply_ops(img_BCHW, rotate, torch.full((len(img_BCHW),), 2.7)), reference(img_BCHW, 81.0))


def test_images_do_not_see_each_other() -> None:
    """The result for an image is the same whatever else is in the batch."""
    img_BCHW = _pictures(3, 12, 12)
    op_B = torch.arange(len(img_BCHW)) * 2 % len(OPS)
    level_B = torch.linspace(-1, 1, len(img_BCHW)).sign() * 0.6
    together = apply_ops(img_BCHW, op_B, level_B)
    for i in range(len(img_BCHW)):
        alone = apply_ops(img_BCHW[i : i + 1], op_B[i : i + 1], level_B[i : i + 1])
        assert torch.equal(together[i], alone[0]), OPS[int(op_B[i])]


@settings(max_examples=40, deadline=None)
@given(
    noise=st.builds(
        Noise,
        *(st.integers(0, 3), st.floats(0, 40), st.integers(0, 20), st.booleans(), st.integers(0, 20)),
        *(st.floats(0, 180), st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 1)),
    ),
    channels=st.sampled_from([1, 3]),
    side=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_augment_keeps_form_and_input_and_repeats(noise: Noise, channels: int, side: int, seed: int) -> None:
    """Same shape and type out, the input untouched, the same generator state gives the same pixels."""
    img_BCHW = _pictures(channels, side, side + 1)
    before = img_BCHW.clone()
    out = augment(img_BCHW, noise, torch.Generator().manual_seed(seed))
    assert (out.shape, out.dtype) == (img_BCHW.shape, torch.uint8)
    assert torch.equal(img_BCHW, before)
    assert torch.equal(out, augment(img_BCHW, noise, torch.Generator().manual_seed(seed)))


def test_no_noise_changes_nothing_and_global_randomness_stays() -> None:
    """All settings off is the identity; torch's own generator is never drawn from."""
    img_BCHW = _pictures(3, 8, 8)
    state = torch.get_rng_state()
    assert torch.equal(augment(img_BCHW, Noise(0, 9.0, 0, False, 0), torch.Generator()), img_BCHW)
    augment(img_BCHW, Noise(2, 9.0, 2, True, 3), torch.Generator())
    assert torch.equal(torch.get_rng_state(), state)


def test_crop_is_a_window_of_the_reflected_image() -> None:
    """Each crop is one of the windows that torch's reflection padding offers."""
    img_BCHW = _pictures(1, 6, 5)[2:3].expand(40, -1, -1, -1)
    padded = torch.nn.functional.pad(img_BCHW[:1].float(), (2, 2, 2, 2), mode="reflect").to(torch.uint8)[0, 0]
    windows = [padded[y : y + 6, x : x + 5] for y in range(5) for x in range(5)]
    crops = random_crop(img_BCHW, 2, torch.Generator().manual_seed(1))[:, 0]
    assert all(any(torch.equal(crop, window) for window in windows) for crop in crops)
    assert len(torch.unique(crops.flatten(1), dim=0)) > 10


def test_cutout_erases_one_square() -> None:
    """At most side x side pixels become 0, in one rectangle, and somewhere the full square fits."""
    out = cutout(torch.full((50, 3, 9, 9), 200, dtype=torch.uint8), 4, torch.Generator().manual_seed(0))
    hole_BHW = (out == 0).all(dim=1)
    assert torch.equal(hole_BHW, (out == 0).any(dim=1))
    for hole in hole_BHW:
        rows, cols = hole.any(dim=1), hole.any(dim=0)
        assert torch.equal(hole, rows[:, None] & cols)
    assert hole_BHW.sum(dim=(1, 2)).max() == 16


def _pictures(channels: int, height: int, width: int) -> Tensor:
    """Dark, single-valued, bright and full-range random images: the cases AutoContrast and Equalize treat apart."""
    gen = torch.Generator().manual_seed(3)
    img = torch.randint(0, 256, (8, channels, height, width), generator=gen)
    img[0], img[1], img[2], img[6] = img[0] // 4 + 20, 77, 255 - img[2] // 9, 255 * (img[6] > 200)
    return img.to(torch.uint8)


def _torchvision(img_CHW: Tensor, name: str, level: float) -> Tensor:
    """The operation as v2.RandAugment applies it, with our ranges."""
    from torchvision.transforms import v2

    H, W = img_CHW.shape[1:]
    strength = abs(level)
    magnitudes = {
        "ShearX": 0.3 * level,
        "ShearY": 0.3 * level,
        "TranslateX": level * W / 8,
        "TranslateY": level * H / 8,
        "Rotate": 30 * level,
        "Posterize": max(8 - round(4 * strength), 1),
        "Solarize": max(1 - strength, 0),
    }
    out: Tensor = v2.RandAugment()._apply_image_or_video_transform(
        img_CHW.clone(), name, magnitudes.get(name, max(0.9 * level, -1.0)), v2.InterpolationMode.NEAREST, {}
    )
    return out
