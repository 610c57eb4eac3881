"""The 15 corruptions, each against its definition: a slow reference, a library, or what must be true of it."""

import colorsys
import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tasks.core import blur, weather
from tasks.core.corruptions import corrupt
from tasks.core.severities import CORRUPTIONS, LARGE, SEVERITIES, SMALL, strength
from tests.core.pictures import IMAGES, SEEDS, N, pictures


def test_the_tables_hold_15_corruptions_in_5_severities() -> None:
    """Both published tables are whole, and small images get the constants of CIFAR-10-C."""
    assert len(CORRUPTIONS) == 15
    assert set(SMALL) == set(LARGE)
    assert {len(of) for table in (SMALL, LARGE) for of in table.values()} == {5}
    assert (strength("contrast", 5, 64), strength("contrast", 5, 65)) == (0.15, 0.05)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("side", "channels"), [(32, 3), (16, 1)])
def test_harder_is_farther_from_the_clean_image(name: str, side: int, channels: int) -> None:
    """uint8 of the same shape; severity 5 moves images farther than 1, and every severity moves them at all."""
    clean = pictures(side, channels)
    moved = []
    for severity in SEVERITIES:
        out = corrupt(clean, name, severity, SEEDS)
        assert out.shape == clean.shape
        assert out.dtype == np.uint8
        moved.append(np.sqrt(((out.astype(float) - clean) ** 2).mean()))
    # Elastic trades its affine part for local shifts, as published: what grows is tested below.
    assert moved[4] > moved[0] or name == "elastic_transform", moved
    assert min(moved) > 0 or name == "defocus_blur", moved  # radius 0.3 at severity 1 is one pixel


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_keeps_its_corruption_whoever_stands_beside_it(name: str) -> None:
    """The result follows from image and seed: the same alone and in a batch, another with another seed if random."""
    whole = corrupt(IMAGES, name, 3, SEEDS)
    alone = corrupt(IMAGES[5:6], name, 3, SEEDS[5:6])
    np.testing.assert_array_equal(whole[5:6], alone)
    other = corrupt(IMAGES[5:6], name, 3, [9])
    fixed = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
    assert np.array_equal(other, alone) == (name in fixed)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_large_images_that_are_not_square_keep_their_form(name: str) -> None:
    """Any height and width, with ImageNet-C's constants."""
    clean = pictures(100, 3, 1)[:, :, :70, :]
    assert corrupt(clean, name, 5, [1]).shape == clean.shape


def test_noise_has_the_published_strength() -> None:
    """On a grey image: deviation 0.10, Poisson variance 1 / photons, 7 % of values black or white."""
    grey = np.full((40, 3, 32, 32), 128, np.uint8)
    seeds = list(range(40))
    assert corrupt(grey, "gaussian_noise", 5, seeds).std() / 255 == pytest.approx(0.10, rel=0.02)
    assert corrupt(grey, "shot_noise", 5, seeds).std() / 255 == pytest.approx(np.sqrt(128 / 255 / 50), rel=0.02)
    impulse = corrupt(grey, "impulse_noise", 5, seeds)
    assert (impulse == 0).mean() == pytest.approx(0.035, rel=0.05)
    assert (impulse == 255).mean() == pytest.approx(0.035, rel=0.05)


def test_defocus_is_a_convolution_with_a_smoothed_disk() -> None:
    """Against scipy's n-dimensional convolution; a disk of radius 3 has 29 pixels and sum 1."""
    x = IMAGES.astype(np.float32) / 255
    kernel = blur.disk(1.5, 0.1)
    expected = ndimage.correlate(x, kernel[None, None], mode="mirror")
    np.testing.assert_allclose(blur.defocus_blur(x, 1.5, 0.1), expected, atol=1e-5)
    assert blur.disk(3, 0.1).sum() == pytest.approx(1)
    assert (blur.disk(3, 0.1) > 0.01).sum() == 29


def test_glass_blur_swaps_pixels_one_by_one() -> None:
    """Against the loop over one image; nothing is lost, the values are only elsewhere (sigma 0 = no smoothing)."""
    x = IMAGES[:3].astype(np.float32) / 255
    found = blur.glass_blur(x, 0, 2, 2, [1, 2, 3])
    for n, seed in enumerate([1, 2, 3]):
        pixel = np.floor(x[n] * 255) / 255
        step = np.random.default_rng(seed).integers(-2, 2, (2, 32, 32, 2), dtype=np.int8)
        for turn in range(2):
            for h in range(30, 2, -1):
                for w in range(30, 2, -1):
                    to = h + step[turn, h, w, 0], w + step[turn, h, w, 1]
                    keep = pixel[:, h, w].copy()
                    pixel[:, h, w] = pixel[:, to[0], to[1]]
                    pixel[:, to[0], to[1]] = keep
        np.testing.assert_array_equal(found[n], pixel.astype(np.float32))
    np.testing.assert_array_equal(np.sort(found.ravel()), np.sort((np.floor(x * 255) / 255).astype(np.float32).ravel()))


def test_motion_blur_smears_along_its_angle() -> None:
    """A dot becomes half a Gaussian to the left at 0 degrees and upwards at 90; the light in it stays."""
    dot = np.zeros((2, 1, 33, 33), np.float32)
    dot[:, 0, 16, 16] = 1
    out = blur.motion_blur(dot, 6, 2, np.array([0.0, 90.0]))
    weight = np.exp(-(np.arange(13) ** 2) / 8)
    np.testing.assert_allclose(out[0, 0, 16, 4:17][::-1], weight / weight.sum(), rtol=1e-5)
    np.testing.assert_allclose(out[1, 0, 4:17, 16][::-1], weight / weight.sum(), rtol=1e-5)
    np.testing.assert_allclose(out.sum(axis=(1, 2, 3)), 1, rtol=1e-5)


@pytest.mark.parametrize("factor", [1.0, 1.05, 1.25, 2.25])
def test_a_zoom_is_scipys_linear_zoom_of_the_middle(factor: float) -> None:
    """Crop, enlarge, cut to size: against scipy.ndimage.zoom, which the benchmark uses."""
    x = IMAGES[0].astype(np.float32) / 255
    crop = int(np.ceil(32 / factor))
    first = (32 - crop) // 2
    middle = x[:, first : first + crop, first : first + crop]
    large = ndimage.zoom(middle, (1, factor, factor), order=1)
    trim = (large.shape[1] - 32) // 2
    np.testing.assert_allclose(blur.zoomed(x, factor), large[:, trim : trim + 32, trim : trim + 32], atol=1e-5)


def test_brightness_adds_to_the_value_of_hsv() -> None:
    """Against Python's colorsys, pixel by pixel, black included."""
    x = IMAGES[:1, :, ::4, ::4].astype(np.float32) / 255
    x[0, :, 0, 0] = 0
    found = weather.brightness(x, 0.3)[0].reshape(3, -1)
    for pixel, brighter in zip(x[0].reshape(3, -1).T, found.T, strict=True):
        h, s, v = colorsys.rgb_to_hsv(*map(float, pixel))
        np.testing.assert_allclose(brighter, colorsys.hsv_to_rgb(h, s, min(v + 0.3, 1)), atol=1e-5)


def test_clouds_are_the_diamond_square_algorithm() -> None:
    """Against a loop over the points of one cloud; values from 0 to 1."""
    found = weather.plasma(16, 16, 2.0, [7])[0]
    noise = np.random.default_rng(7).uniform(-1, 1, (16, 16)).astype(np.float32)
    cloud, step, amplitude = np.zeros((16, 16)), 16, 1.0
    while step >= 2:
        half = step // 2
        for r in range(half, 16, step):
            for c in range(half, 16, step):
                around = [cloud[(r + i) % 16, (c + j) % 16] for i in (-half, half) for j in (-half, half)]
                cloud[r, c] = sum(around) / 4 + amplitude * noise[r, c]
        for r in range(0, 16, half):
            for c in range((r + half) % step, 16, step):
                around = [cloud[(r + i) % 16, (c + j) % 16] for i, j in ((-half, 0), (half, 0), (0, -half), (0, half))]
                cloud[r, c] = sum(around) / 4 + amplitude * noise[r, c]
        step, amplitude = half, amplitude / 4
    cloud -= cloud.min()
    np.testing.assert_allclose(found, cloud / cloud.max(), atol=1e-5)


def test_fog_keeps_the_brightest_value_in_reach() -> None:
    """(x + t * cloud) * max / (max + t): never brighter than the brightest pixel was; black stays black."""
    x = IMAGES.astype(np.float32) / 255
    out = weather.fog(x, 1.5, 2.0, SEEDS)
    assert (out.max(axis=(1, 2, 3)) <= x.max(axis=(1, 2, 3)) + 1e-6).all()
    assert weather.fog(np.zeros((1, 3, 8, 8), np.float32), 1.5, 2.0, [0]).max() == 0


def test_contrast_pixelate_and_jpeg_are_what_they_say() -> None:
    """Contrast by arithmetic; pixelate and JPEG as Pillow makes them."""
    image_HWC = IMAGES[0].transpose(1, 2, 0)
    x = image_HWC / 255
    by_hand = ((x - x.mean((0, 1))) * 0.15 + x.mean((0, 1))) * 255
    np.testing.assert_allclose(corrupt(IMAGES[:1], "contrast", 5, [0])[0].transpose(1, 2, 0), by_hand, atol=1)
    picture = Image.fromarray(image_HWC)
    coarse = picture.resize((20, 20), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
    np.testing.assert_array_equal(corrupt(IMAGES[:1], "pixelate", 5, [0])[0].transpose(1, 2, 0), np.asarray(coarse))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=40)
    squeezed = np.asarray(Image.open(stream))
    np.testing.assert_array_equal(corrupt(IMAGES[:1], "jpeg_compression", 5, [0])[0].transpose(1, 2, 0), squeezed)


def test_elastic_moves_pixels_and_invents_no_light() -> None:
    """Every value lies between the darkest and the brightest of its image; a plain image stays plain."""
    out = corrupt(IMAGES, "elastic_transform", 4, SEEDS)
    assert (out.max(axis=(1, 2, 3)) <= IMAGES.max(axis=(1, 2, 3))).all()
    assert (out.min(axis=(1, 2, 3)) + 1 >= IMAGES.min(axis=(1, 2, 3))).all()
    plain = np.full((1, 3, 32, 32), 90, np.uint8)
    assert set(np.unique(corrupt(plain, "elastic_transform", 4, [0]))) <= {89, 90}


def test_elastic_bends_more_at_each_severity() -> None:
    """A ramp stays a plane under the affine part; what is left of it after a plane was fitted is the bending."""
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8) * 7, (N, 1, 32, 32)).copy()
    row, column = np.mgrid[8:24, 8:24].reshape(2, -1)
    plane = np.stack([row, column, np.ones_like(row)], axis=1).astype(float)
    bent = []
    for severity in SEVERITIES:
        value = corrupt(ramp, "elastic_transform", severity, SEEDS)[:, 0, 8:24, 8:24].reshape(N, -1).T.astype(float)
        bent.append(float(np.sqrt(np.linalg.lstsq(plane, value)[1].sum() / value.size)))
    assert bent[1:] == sorted(bent[1:]), bent  # severity 1 has no bending at all
    assert bent[0] < 0.5


def test_snow_falls_and_makes_paler() -> None:
    """Snow never darkens a pixel; frost mixes by its weights, so black turns to ice of at most the frost's weight."""
    x = IMAGES.astype(np.float32) / 255
    assert (weather.snow(x, SMALL["snow"][4], SEEDS) >= x - 1e-5).all()
    black = np.zeros((4, 3, 32, 32), np.float32)
    ice = weather.frost(black, 0.75, 0.45, [0, 1, 2, 3])
    assert 0 < ice.min() <= ice.max() <= 0.45
