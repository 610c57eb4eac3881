"""Sequences of small shifts: the middle frame is the image, and each frame is one published step on."""

import numpy as np
import pytest
from scipy import ndimage

from tasks.core.shifts import NOISE, SHIFTS, frames
from tests.core.pictures import IMAGES, SEEDS


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("count", [1, 5])
def test_frames_go_through_the_image_and_move_on(name: str, count: int) -> None:
    """As many frames as asked for; the first (noise) or middle one is the image itself, the others are not."""
    found = list(frames(IMAGES, name, count, SEEDS))
    assert len(found) == count
    middle = 0 if name == NOISE else count // 2
    np.testing.assert_array_equal(found[middle], IMAGES)
    assert all(not np.array_equal(frame, IMAGES) for i, frame in enumerate(found) if i != middle)
    assert all(frame.dtype == np.uint8 and frame.shape == IMAGES.shape for frame in found)


def test_fewer_frames_are_the_middle_of_more() -> None:
    """The steps between frames stay what they are."""
    many, few = (list(frames(IMAGES[:2], "rotate", count, [1, 2])) for count in (9, 5))
    np.testing.assert_array_equal(many[2:7], few)


def test_a_translation_is_a_shift_by_whole_pixels() -> None:
    """To the right by one pixel a frame, the left column repeated."""
    last = list(frames(IMAGES, "translate", 5, SEEDS))[-1]
    np.testing.assert_array_equal(last[..., 2:], IMAGES[..., :-2])
    np.testing.assert_array_equal(last[..., 0], IMAGES[..., 0])


def test_a_rotation_turns_about_the_middle() -> None:
    """15 degrees, against scipy's rotation, away from the border."""
    turned = list(frames(IMAGES, "rotate", 31, SEEDS))[-1]
    expected = ndimage.rotate(IMAGES.astype(float), -15, axes=(2, 3), reshape=False, order=1, mode="nearest")
    np.testing.assert_allclose(turned[..., 8:24, 8:24], expected[..., 8:24, 8:24], atol=3)


def test_tilt_and_scale_keep_the_middle_and_change_the_border() -> None:
    """Both maps leave the centre of the image in place; the corner moves."""
    for name in ("tilt", "scale"):
        last = list(frames(IMAGES, name, 31, SEEDS))[-1].astype(float)
        centre = np.abs(last[..., 15:17, 15:17] - IMAGES[..., 15:17, 15:17]).mean()
        corner = np.abs(last[..., :4, :4] - IMAGES[..., :4, :4]).mean()
        assert centre < 3 < corner, name
