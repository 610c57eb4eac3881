"""Which images are wanted, as 32 bytes each: a million ids take 32 MB here and 113 MB as Python's strings.

Letters: N ids as given, U different ones in order, P images of a part.
"""

import binascii
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from tasks.errors import Integrity

DIGEST = 32  # bytes of a sha256
Ids: TypeAlias = "Sequence[str] | np.ndarray | pa.Array[Any] | pa.ChunkedArray[Any]"  # numpy: S32, digests themselves


def digests(ids: Ids) -> np.ndarray:
    """The ids, hexadecimal sha256, as numpy's S32. Raises Integrity for an id that is none."""
    if isinstance(ids, np.ndarray):
        assert ids.dtype == f"S{DIGEST}", ids.dtype
        return ids
    column = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids, pa.string())
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    try:
        fixed = column.cast(pa.binary()).cast(pa.binary(2 * DIGEST))
        text = fixed.buffers()[1] or b""
        start = fixed.offset * 2 * DIGEST
        raw = binascii.unhexlify(memoryview(text)[start : start + len(fixed) * 2 * DIGEST])
    except (pa.ArrowInvalid, binascii.Error) as error:
        fix = "run `dvc repro`: the image tables are made again"
        raise Integrity("bad_image_id", f"an image_id is no hexadecimal sha256: {error}", fix) from None
    return np.frombuffer(raw, f"S{DIGEST}")


def names(digest_N: np.ndarray) -> list[str]:
    """The ids that digests stand for."""
    text = binascii.hexlify(digest_N.tobytes()).decode()
    return [text[i : i + 2 * DIGEST] for i in range(0, len(text), 2 * DIGEST)]


def places(ids: Ids) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each of the U different ids stands first, which of the N repeat an earlier one, and which one."""
    _, first_U, at_N = np.unique(digests(ids), return_index=True, return_inverse=True)
    again = np.flatnonzero(first_U[at_N] != np.arange(len(at_N)))
    return first_U, again, first_U[at_N[again]]


class Wanted:
    """A set of image ids, sorted, that knows which of them were found."""

    def __init__(self, ids: Ids) -> None:
        digest_N = digests(ids)
        is_set = bool((digest_N[:-1] < digest_N[1:]).all())  # as the split's tables are: no copy, no sorting
        self._digest_U = digest_N if is_set else np.unique(digest_N)
        self._is_found_U = np.zeros(len(self._digest_U), bool)

    def __len__(self) -> int:
        return len(self._digest_U)

    def claim(self, digest_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ascending rows of a part that are wanted and that no part had before (two sources may hold the same image),
        and their places among the U ids. From now on they count as found."""
        at_P = np.searchsorted(self._digest_U, digest_P)
        at_P[at_P == len(self._digest_U)] = 0
        row_R = np.flatnonzero((self._digest_U[at_P] == digest_P) & ~self._is_found_U[at_P])
        _, first = np.unique(at_P[row_R], return_index=True)
        row_R = row_R[np.sort(first)]
        self._is_found_U[at_P[row_R]] = True
        return row_R, at_P[row_R]

    def names(self, at_B: np.ndarray) -> list[str]:
        """The ids at these places, as text."""
        return names(self._digest_U[at_B])

    def missing(self) -> list[str]:
        """The ids that were not found, in order."""
        return self.names(np.flatnonzero(~self._is_found_U))
