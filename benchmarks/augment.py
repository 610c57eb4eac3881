"""RandAugment with a draw for every image: ours beside torchvision's and, where it is installed, timm's.

    python benchmarks/augment.py [--threads 2] [--sizes 32 96] [--rounds 7] [--cpu-time] [--quick] [--json FILE]

Every contender gets the same uint8 RGB images from memory and returns images; N = 2 operations, M = 9 of 30 there and
the same strength here (M = 3). They take turns, round after round, after one round that is not counted; a row is the
median of the rounds. `one draw a batch` is what a batch costs torchvision when all its images get the same operation.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from tasks.core.augment import Noise, augment
from tasks.core.rand_augment import rand_augment

OURS = "ours, a draw an image"
OPS, STRENGTH = 2, 3.0  # M/10 of the range; torchvision's 9 of 30
Contender = tuple[str, int, Callable[[Tensor], Any]]  # name, how many of the images it gets, what it does with them


def main() -> None:
    """Measure, print a table, and write the rows where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cpu-time", action="store_true", help="processor time: for a machine that others use too")
    parser.add_argument("--quick", action="store_true", help="size 32 alone, three rounds")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sizes, rounds = ([32], 3) if args.quick else (args.sizes, args.rounds)
    clock = time.process_time if args.cpu_time else time.perf_counter
    of = "processor time of all threads" if args.cpu_time else "wall time"
    print(f"torch {torch.__version__}, {args.threads} threads, {platform.machine()}, batch {args.batch}, {of}\n")
    print("| images | contender | images/s | ours is |\n|---|---|---|---|")
    rows = [row for size in sizes for row in _measured(size, args.batch, rounds, clock)]
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _measured(size: int, batch: int, rounds: int, clock: Callable[[], float]) -> list[dict[str, Any]]:
    gen = torch.Generator().manual_seed(0)
    img_BCHW = torch.randint(0, 256, (batch, 3, size, size), generator=gen, dtype=torch.uint8)
    contenders = _contenders(gen)
    rates: dict[str, list[float]] = {name: [] for name, *_ in contenders}
    for number in range(rounds + 1):
        for name, count, act in contenders:
            some_BCHW = img_BCHW[:count]
            began = clock()
            act(some_BCHW)
            if number:
                rates[name].append(len(some_BCHW) / (clock() - began))
    median = {name: statistics.median(values) for name, values in rates.items()}
    rows = []
    for name, values in rates.items():
        ratio = median[OURS] / median[name]
        print(f"| {size}x{size} | {name} | {median[name]:,.0f} | {ratio:.1f}x |", flush=True)
        row = {"name": name, "metric": f"images/s at {size}x{size}", "value": median[name], "unit": "1/s"}
        rows.append(row | {"std": statistics.stdev(values), "n": len(values), "against": OURS, "ratio": ratio})
    return rows


def _contenders(gen: torch.Generator) -> list[Contender]:
    theirs = v2.RandAugment(num_ops=OPS, magnitude=9)
    whole = Noise(num_ops=OPS, magnitude=STRENGTH, crop=4, flip=True, cutout=8)
    found: list[Contender] = [
        (OURS, 10**9, lambda img: rand_augment(img, OPS, STRENGTH, gen)),
        ("ours, with crop, flip and cutout", 10**9, lambda img: augment(img, whole, gen)),
        ("torchvision v2.RandAugment, a draw an image", 128, lambda img: torch.stack([theirs(one) for one in img])),
        ("torchvision v2.RandAugment, one draw a batch", 10**9, theirs),
    ]
    if find_spec("timm"):
        found.append(("timm, PIL, a draw an image", 128, _timm()))
    return found


def _timm() -> Callable[[Tensor], Any]:
    from timm.data.auto_augment import rand_augment_transform
    from torchvision.transforms.v2.functional import to_pil_image

    transform = rand_augment_transform(f"rand-m9-n{OPS}", {})
    pictures: dict[int, list[Any]] = {}

    def act(img_BCHW: Tensor) -> list[Any]:
        key = img_BCHW.shape[-1]
        if key not in pictures:
            pictures[key] = [to_pil_image(one) for one in img_BCHW]
        return [transform(picture) for picture in pictures[key]]

    return act


if __name__ == "__main__":
    main()
