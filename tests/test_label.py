"""Predictions out of the store in the pool's order, whatever the order and size of the chunks they lie in."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import files, label
from tasks.images.wanted import digests, names


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 60), st.integers(0, 20), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**31 - 1))
def test_every_band_has_its_own_rows(
    tmp_path_factory: pytest.TempPathFactory, pool: int, gone: int, part: int, parts_in_a_band: int, seed: int
) -> None:
    """Parts of `part` rows, from bands of a few parts: together they are the pool, each image with its prediction;
    images that left the pool are nowhere."""
    random, store = np.random.default_rng(seed), tmp_path_factory.mktemp("store")
    every = digests([f"{n:064x}" for n in random.choice(10_000, pool + gone, replace=False)])
    prob_NC = random.random((len(every), 3), np.float32)
    for index, rows in enumerate(np.array_split(random.permutation(len(every)), 4)):
        files.write_table(label._table(names(every[rows]), prob_NC[rows]), store / f"chunk-{index:06d}.parquet")
    order = np.argsort(every[:pool])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label, "PART_ROWS", part)
        patch.setattr(label, "BAND_BYTES", 4 * 3 * part * parts_in_a_band)
        found = list(label._parts(store, every[:pool][order], 3))
    assert [len(digest_P) for digest_P, _ in found[:-1]] == [part] * (len(found) - 1)
    np.testing.assert_array_equal(np.concatenate([digest_P for digest_P, _ in found]), every[:pool][order])
    np.testing.assert_array_equal(np.concatenate([prob_PC for _, prob_PC in found]), prob_NC[:pool][order])


def test_an_image_without_prediction_is_our_mistake(tmp_path: Path) -> None:
    """Nothing is published with a hole in it."""
    with pytest.raises(AssertionError, match="1 pool images, 0 predictions"):
        list(label._parts(tmp_path, digests(["0" * 64]), 3))
