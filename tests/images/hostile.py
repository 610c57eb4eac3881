"""A check whose decoder is as bad as decoders get, by the name of the image; and damaged images of every kind."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tasks.images.check import Sound, check
from tasks.images.record import Refusal
from tests.images.workspace import SUFFIX, picture

CHECK = "tests.images.hostile:check_hostile"
SEEDS = [picture(number, format_, side) for number, format_ in enumerate(SUFFIX) for side in (8, 40)]


def check_hostile(content: bytes, path: str, max_pixels: int) -> Sound | Refusal:
    """The real check, but names with `abort`, `hang`, `exit`, `bug` and `once=FILE` do what they say."""
    if "abort" in path:
        os.abort()
    if "hang" in path:
        time.sleep(600)
    if "exit" in path:
        os._exit(9)
    if "bug" in path:
        raise ValueError("a mistake of ours")
    if "once=" in path and not (marker := Path(path.partition("once=")[2])).exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return check(content, path, max_pixels)


def damaged(count: int) -> Iterator[bytes]:
    """Images with flipped bits, cut short, or with a piece of another one in them; the same ones every time."""
    random = np.random.default_rng(0)
    for number in range(count):
        content = bytearray(SEEDS[number % len(SEEDS)])
        kind = number // len(SEEDS) % 3
        at = int(random.integers(len(content)))
        if kind == 0:
            for place in random.integers(0, len(content), int(random.integers(1, 9))):
                content[place] ^= 1 << int(random.integers(8))
        elif kind == 1:
            del content[at:]
        else:
            other = SEEDS[int(random.integers(len(SEEDS)))]
            start = int(random.integers(len(other)))
            content[at : at + int(random.integers(200))] = other[start : start + int(random.integers(200))]
        yield bytes(content)


def changed(kinds: Sequence[bytes], count: int, head: int) -> Iterator[bytes]:
    """Each kind in turn with a bit changed, a piece cut out, its end cut off or bytes put in; half of that happens in

    the first `head` bytes. The same ones every time.
    """
    random = np.random.default_rng(0)
    for number in range(count):
        content = bytearray(kinds[number % len(kinds)])
        at = int(random.integers(2, head if number % 2 else len(content)) % len(content))
        if number % 5 == 0:
            del content[at : at + int(random.integers(1, 200))]
        elif number % 5 == 1:
            del content[at:]
        elif number % 5 == 2:
            content[at:at] = random.bytes(int(random.integers(1, 40)))
        else:
            content[at] ^= 1 << int(random.integers(8))
        yield bytes(content)
