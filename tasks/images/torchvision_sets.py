"""Source `torchvision`: a classification data set that torchvision knows by name, from its files under `path`.

Files already there are used; missing ones are downloaded by torchvision itself, which checks their md5. Its readers of
CIFAR and SVHN unpickle or parse only files whose md5 is the one in its code: the single exception to the rule that
nothing from outside is unpickled (an old MNIST/processed/*.pt is read with weights_only). Pixels that exist only as
arrays become PNG, without loss and the same bytes every time. All parts of a set are in memory while it is read:
CIFAR 0.2 GB, STL10 3 GB, SVHN with its extra images 2 GB.
"""

import io
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import UserError
from tasks.images.record import Origin, Record, Source

TIMEOUT = 30.0  # seconds without an answer before a download is given up
IDX = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


@dataclass(frozen=True, slots=True)
class Part:
    """One constructor call of torchvision: the part's name, its role here, and the arguments that select it."""

    name: str
    origin: Origin
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A data set: its parts, and the files it consists of, relative to the root."""

    parts: tuple[Part, ...]
    files: tuple[str, ...]


def _flagged(*files: str) -> Known:
    return Known((Part("train", "labeled", {"train": True}), Part("test", "test", {"train": False})), files)


def _named(pool: str, *files: str) -> Known:
    origins: dict[str, Origin] = {"train": "labeled", "test": "test", pool: "pool"}
    return Known(tuple(Part(name, origin, {"split": name}) for name, origin in origins.items()), files)


SETS: dict[str, Known] = {
    **{name: _flagged(*(f"{name}/raw/{file}" for file in IDX)) for name in ("MNIST", "FashionMNIST", "KMNIST")},
    "CIFAR10": _flagged(
        *(f"cifar-10-batches-py/data_batch_{n}" for n in range(1, 6)),
        *("cifar-10-batches-py/test_batch", "cifar-10-batches-py/batches.meta"),
    ),
    "CIFAR100": _flagged(*(f"cifar-100-python/{name}" for name in ("train", "test", "meta"))),
    "SVHN": _named("extra", "train_32x32.mat", "test_32x32.mat", "extra_32x32.mat"),
    "STL10": _named(
        "unlabeled",
        *(f"stl10_binary/{name}.bin" for name in ("train_X", "train_y", "test_X", "test_y", "unlabeled_X")),
        "stl10_binary/class_names.txt",
    ),
    "USPS": _flagged("usps.bz2", "usps.t.bz2"),
}


def fetch(path: Path, name: str) -> None:
    """Download what is not there. UserError offline: which files are missing and where they belong."""
    if not (missing := _missing(path, name)):
        return
    print(f"{name}: {len(missing)} files are not under {path}; torchvision downloads them")
    try:
        with _patience():
            for part in SETS[name].parts:
                _open(path, name, part, download=True)
    except Exception as error:  # urllib, ssl, tarfile and torchvision's own RuntimeError
        missing = _missing(path, name) or missing
        places = "\n".join(f"    {path / file}" for file in missing)
        why = str(error).strip().splitlines()
        what = f"{name} is not complete and cannot be downloaded ({why[-1] if why else type(error).__name__})"
        fix = "put these files there (or the archive they come in, as torchvision names it), or run with a network"
        raise UserError("no_network", f"{what}; missing:\n{places}", fix) from None


def read(path: Path, name: str) -> Source:
    """All parts as PNG, in torchvision's order. UserError when files are missing or damaged."""
    if missing := _missing(path, name):
        what = f"{name}: {path / missing[0]} is missing ({len(missing)} files in all)"
        raise UserError("no_source", what, "put them there, or run with a network")
    opened = []
    for part in SETS[name].parts:
        try:
            opened.append((part, _open(path, name, part, download=False)))
        except Exception as error:  # torchvision's readers raise almost anything on damaged files
            what = f"{name} under {path}, part {part.name}: {str(error).strip() or type(error).__name__}"
            raise UserError("bad_dataset", what, f"delete its files under {path} and run again to download") from None
    classes = _classes(opened[0][1])
    return Source(classes, sum(len(data) for _, data in opened), _records(opened, classes))


def _missing(path: Path, name: str) -> list[str]:
    return [file for file in SETS[name].files if not (path / file).is_file()]


def _open(path: Path, name: str, part: Part, download: bool) -> Any:
    from torchvision import datasets

    return getattr(datasets, name)(str(path), download=download, **part.arguments)


def _classes(data: Any) -> list[str]:
    """torchvision's names; for the sets of digits without names (SVHN, USPS) the digits."""
    return [str(name) for name in getattr(data, "classes", range(10))]


def _records(opened: list[tuple[Part, Any]], classes: list[str]) -> Iterator[Record]:
    for part, data in opened:
        for index in range(len(data)):
            image, target = data[index]
            label = classes[target] if target is not None and 0 <= target < len(classes) else None
            stream = io.BytesIO()
            image.save(stream, "PNG")
            yield Record(f"{part.name}/{index:06d}.png", part.name, part.origin, label, stream.getvalue())


@contextmanager
def _patience() -> Iterator[None]:
    """A silent network is given up; without a terminal torchvision draws no bars."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
