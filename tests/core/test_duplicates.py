"""Which images are copies: the hash is the library's, the search is exact, and copies are told from look-alikes."""

import io
from itertools import combinations

import imagehash
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tasks.core import duplicates
from tasks.core.duplicates import Prints, distances, find, groups, near
from tasks.core.fingerprints import DECODED, SIDE, hashes, shrink, vectors
from tasks.images.decode import decode


def _scene(seed: int, side: int = 48) -> Image.Image:
    """A smooth coloured picture, another one for every number."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def _encoded(image: Image.Image, format_: str, quality: int = 90) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, quality=quality)
    return stream.getvalue()


def _prints(contents: list[bytes], side: int = 48) -> Prints:
    thumb_NHW = np.stack([shrink(decode(content, DECODED, 1, 255)[0]) for content in contents])
    return Prints(*hashes(thumb_NHW), thumb_NHW, np.full(len(contents), side))


def _as_set(prints: Prints, distance: float = 0.15) -> set[tuple[int, int, bool]]:
    found = find(prints, distance)
    return set(zip(found.first_P.tolist(), found.second_P.tolist(), found.mirrored_P.tolist(), strict=True))


def test_the_hash_is_the_librarys() -> None:
    """Bit for bit imagehash.phash, of the image and of its mirror image."""
    thumb_NHW = np.random.default_rng(0).integers(0, 256, (50, SIDE, SIDE), np.uint8)
    upright, mirrored = hashes(thumb_NHW)
    for row, thumb in enumerate(thumb_NHW):
        for mine, image in ((upright, thumb), (mirrored, thumb[:, ::-1])):
            theirs = imagehash.phash(Image.fromarray(image.copy()), hash_size=8, highfreq_factor=2)
            assert f"{mine[row]:016x}" == str(theirs)


def test_vectors_keep_distances_and_mirror() -> None:
    """A mirrored thumbnail has the mirrored vector; a difference of 7 grey levels everywhere is 7 long."""
    thumb_NHW = np.random.default_rng(1).integers(0, 200, (5, SIDE, SIDE), np.uint8)
    turned = vectors(thumb_NHW[:, :, ::-1].copy(), np.full(5, True))
    np.testing.assert_allclose(vectors(thumb_NHW), turned, atol=1e-9)
    apart = np.linalg.norm(vectors(thumb_NHW) - vectors(thumb_NHW + np.uint8(7)), axis=1)
    np.testing.assert_allclose(apart, 7)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 40),
    bits=st.integers(0, 12),
    at_once=st.sampled_from([1, 7, 2**15]),
)
def test_the_search_misses_nothing(seed: int, count: int, bits: int, at_once: int) -> None:
    """Bands find exactly the pairs that comparing everything with everything finds, each once."""
    generator = np.random.default_rng(seed)
    centre = generator.integers(0, 2**64, 3, np.uint64)
    hash_N, other_N = (generator.choice(centre, count) for _ in range(2))
    for _ in range(6):
        hash_N = hash_N ^ (np.uint64(1) << generator.integers(0, 64, count).astype(np.uint64))
    slow = [(i, j) for i, j in combinations(range(count), 2) if (int(hash_N[i]) ^ int(other_N[j])).bit_count() <= bits]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "AT_ONCE", at_once)
        blocks = [list(zip(a.tolist(), b.tolist(), strict=True)) for a, b in near(hash_N, other_N, bits)]
    assert sorted(pair for block in blocks for pair in block) == slow


@settings(deadline=None)
@given(st.integers(1, 20).flatmap(lambda n: st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))))
def test_groups_are_connected_components(links: list[tuple[int, int]]) -> None:
    """A group is named after its first row and holds whoever is linked to it by any chain."""
    graph = nx.Graph(links)
    graph.add_nodes_from(range(20))
    ends = np.array(links, np.int64).reshape(-1, 2)
    expected = {row: min(part) for part in nx.connected_components(graph) for row in part}
    assert dict(enumerate(groups(20, ends[:, 0], ends[:, 1]).tolist())) == expected


def test_copies_are_found_and_others_are_not() -> None:
    """Encoded again, resized and mirrored copies are found among 60 pictures, and nothing else is."""
    scenes = [_scene(seed) for seed in range(60)]
    originals = [_encoded(scene, "PNG") for scene in scenes]
    copies = [
        _encoded(scenes[0], "JPEG", 40),
        _encoded(scenes[1], "WEBP", 40),
        _encoded(scenes[2].resize((24, 24)), "PNG"),
        _encoded(scenes[3].resize((96, 96)), "JPEG"),
        _encoded(ImageOps.mirror(scenes[4]), "JPEG"),
        _encoded(ImageOps.flip(scenes[5]), "PNG"),
    ]
    expected = {(0, 60, False), (1, 61, False), (2, 62, False), (3, 63, False), (4, 64, True)}
    assert _as_set(_prints(originals + copies)) == expected, "upside down is another picture"


def test_many_frames_of_one_scene_cost_no_square() -> None:
    """Images of equal hash are compared with the first one only, yet all stand in one group with its mirror image."""
    frame, mirrored = _encoded(_scene(1), "PNG"), _encoded(ImageOps.mirror(_scene(1)), "PNG")
    found = find(_prints([frame] * 200 + [mirrored]), 0.15)
    assert len(found.first_P) == 200
    assert set(groups(201, found.first_P, found.second_P)) == {0}


def test_empty_pictures_are_no_copies() -> None:
    """Nearly flat images say nothing: white pages are not one picture."""
    pages = [_encoded(Image.new("RGB", (48, 48), (250 + n, 250, 250)), "JPEG") for n in range(4)]
    assert _as_set(_prints(pages)) == set()


def test_an_equal_hash_is_not_enough() -> None:
    """Candidates are compared: the same picture at a tenth of the contrast hashes alike and is no copy."""
    pixel = np.asarray(_scene(7).convert("L"))
    faint = (pixel.astype(int) // 10 + 100).astype(np.uint8)
    prints = _prints([_encoded(Image.fromarray(p), "PNG") for p in (pixel, faint)])
    assert (prints.hash_N[0] ^ prints.hash_N[1]).bit_count() <= duplicates.CANDIDATE
    assert _as_set(prints, 0.3) == set()


def test_tiny_images_are_held_to_less() -> None:
    """What counts as a copy at 48 pixels is only a look-alike at 8."""
    one = np.asarray(_scene(3).convert("L"))
    other = np.clip(one + 12 * np.random.default_rng(0).standard_normal(one.shape).cumsum(axis=0) / 4, 0, 255)
    contents = [_encoded(Image.fromarray(p.astype(np.uint8)), "PNG") for p in (one, other)]
    apart = distances(_prints(contents), np.array([0]), np.array([1]), mirrored=False)[0]
    assert duplicates.TINY_DISTANCE < apart < 0.3
    assert _as_set(_prints(contents), 0.3) == {(0, 1, False)}
    assert _as_set(_prints(contents, side=8), 0.3) == set()
