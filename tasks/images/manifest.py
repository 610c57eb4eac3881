"""placeholder"""

from pathlib import Path

from tasks.images.record import Source


def read(path: Path) -> Source:
    raise NotImplementedError
