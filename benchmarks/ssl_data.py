"""What the rows of benchmarks/ssl.py learn from: splits of the digits and of CIFAR-10 (JPEG), even or skewed.

Letters: N images, C channels or classes, H height, W width.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from benchmarks.digits import digits, make_split

CLASSES = 10
VALIDATION = {"digits": 200, "cifar10": 2000}
CIFAR_POOL = 20_000
SKEW = 10.0  # the largest class of a skewed set over its smallest
POOLS = ("even", "skewed", "reversed")


@dataclass(frozen=True, slots=True)
class Part:
    """Images as the stages see them, uint8 (N, C, H, W), and their true classes (N,)."""

    image_NCHW: Tensor
    label_N: Tensor


@dataclass(frozen=True, slots=True)
class Material:
    """The parts of one split; only diagnostics look at the pool's classes."""

    labeled: Part
    pool: Part
    validation: Part
    test: Part


def material(data: str, labels: int, pool: str, seed: int, size: int, cifar: Path | None) -> Material:
    """The split of a seed. `skewed`: labels and pool have geometric class counts, 10 to 1 from class 0 to 9, with the
    same number of labels in all; `reversed`: the pool's run the other way. Validation and test stay as they are.
    """
    if data == "digits":
        images, rows = _digits(labels, seed, size, even=pool == "even")
    else:
        assert cifar, "CIFAR-10 wants --cifar FOLDER"
        images, rows = _cifar(cifar, labels, seed, even=pool == "even")
    label_N = images["train"].label_N
    labeled, rest = rows["labeled"], rows["pool"]
    if pool != "even":
        labeled = skewed(label_N, labeled, _counts(labels), reverse=False)
        rest = skewed(label_N, rest, None, reverse=pool == "reversed")

    def part(chosen: Tensor) -> Part:
        return Part(images["train"].image_NCHW[chosen], label_N[chosen])

    return Material(part(labeled), part(rest), part(rows["validation"]), images["test"])


def skewed(label_N: Tensor, rows: Tensor, count_C: np.ndarray | None, reverse: bool) -> Tensor:
    """Of `rows` the first of each class, as many as `count_C` says; None: as many as a 10 to 1 slope lets one keep."""
    found_C = np.bincount(label_N[rows].numpy(), minlength=CLASSES)
    if count_C is None:
        slope_C = SKEW ** -(np.arange(CLASSES) / (CLASSES - 1))
        slope_C = slope_C[::-1] if reverse else slope_C
        count_C = np.maximum((slope_C * (found_C / slope_C).min()).astype(int), 1)
    assert (found_C >= count_C).all(), "too few images of a class"
    chosen = [rows[label_N[rows] == c][: int(count_C[c])] for c in range(CLASSES)]
    return torch.cat(chosen)


def _counts(labels: int) -> np.ndarray:
    """Geometric class counts that add up to `labels`, none of them 0."""
    slope_C = SKEW ** -(np.arange(CLASSES) / (CLASSES - 1))
    count_C = np.maximum((labels * slope_C / slope_C.sum()).round().astype(int), 1)
    count_C[0] += labels - count_C.sum()
    return count_C


def _digits(labels: int, seed: int, size: int, even: bool) -> tuple[dict[str, Part], dict[str, Tensor]]:
    """The README's split (benchmarks/digits.py); the last 200 of its pool are for validation."""
    image_NCHW, label_N = digits(size)
    split = make_split(seed, labels if even else 4 * labels)  # a skewed set takes more of its first classes
    kept = len(split.pool) - VALIDATION["digits"]
    rows = {"labeled": split.labeled, "pool": split.pool[:kept], "validation": split.pool[kept:]}
    return {
        "train": Part(image_NCHW, label_N),
        "test": Part(image_NCHW[split.test], label_N[split.test]),
    }, rows


def _cifar(folder: Path, labels: int, seed: int, even: bool) -> tuple[dict[str, Part], dict[str, Tensor]]:
    """Of the 50,000 in an order drawn by `seed`: 2,000 for validation, the first labels/10 of each class, a pool."""
    table, truth_N = _table(folder / "train.parquet")
    order = torch.randperm(len(truth_N), generator=torch.Generator().manual_seed(seed))
    validation, rest = order[: VALIDATION["cifar10"]], order[VALIDATION["cifar10"] :]
    each = labels // CLASSES * (1 if even else 3)
    labeled = torch.cat([rest[truth_N[rest] == c][:each] for c in range(CLASSES)])
    pool = rest[~torch.isin(rest, labeled)][:CIFAR_POOL]
    used = torch.cat([labeled, pool, validation])
    image_NCHW = _decoded([table[i] for i in used.tolist()])
    ends = np.cumsum([len(labeled), len(pool), len(validation)])
    rows = {
        name: torch.arange(int(end) - len(part), int(end))
        for (name, part), end in zip(
            {"labeled": labeled, "pool": pool, "validation": validation}.items(), ends, strict=True
        )
    }
    test, test_N = _table(folder / "test.parquet")
    return {"train": Part(image_NCHW, truth_N[used]), "test": Part(_decoded(test), test_N)}, rows


def _table(path: Path) -> tuple[list[bytes], Tensor]:
    """JPEG files and classes."""
    table = pq.read_table(path)
    return table["image"].combine_chunks().field("bytes").to_pylist(), torch.tensor(table["label"].to_numpy())


def _decoded(files: list[bytes]) -> Tensor:
    pixels = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
    return torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy())
