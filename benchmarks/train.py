"""What a noisy training step costs beside the bare one: forward, backward and optimiser on tensors that are ready.

    python benchmarks/train.py [--nets wrn10mp:2 wrn10:2] [--size 32] [--batch 64] [--ratio 1] [--seconds 20]
                               [--threads 2] [--cpu-time] [--quick] [--json FILE]

Three loops take turns in this process, a few steps each, and every turn gives one ratio:

- `bare`: net(x), cross entropy, backward, SGD step, on one batch of tensors that were augmented before;
- `ours`: `train` of tasks/core/train.py with all the noise of a student: crop, flip, RandAugment N = 2, cutout,
  dropout, stochastic depth, soft pseudo-labels, average over time, schedule, clipping, finite check;
- `torchvision`: the loop of torchvision's reference scripts: a DataLoader, v2.RandAugment and RandomErasing for each
  image, SGD, an average over time; with `--workers` processes of its own (0: in this one).

The ratio is bare / ours, from the medians over the turns. Peak memory is that of a process of its own for each loop.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2

from tasks.core.augment import Noise, augment
from tasks.core.train import Examples, Recipe, train
from tasks.nets.catalog import build
from tasks.nets.names import PLAIN

CLASSES = 10
NOISE = Noise(num_ops=2, magnitude=5.0, crop=4, flip=True, cutout=8)
Run = Callable[[int], float]  # runs so many steps, returns the seconds of one


def main() -> None:
    """Measure every net, print a table, and write the rows where asked."""
    args = _arguments()
    if args.memory:
        return print(_peak(args))
    torch.set_num_threads(args.threads)
    of = "processor time" if args.cpu_time else "wall time"
    print(f"torch {torch.__version__}, {args.threads} threads, {platform.machine()}, {of}")
    print(f"{args.size}x{args.size} images, {args.batch} labeled and {args.ratio * args.batch} pseudo-labeled a step\n")
    print("| net | MFLOPs an image | loop | images/s | bare step / this | peak memory | against bare |")
    print("|---|---|---|---|---|---|---|")
    rows = [row for name in args.nets for row in _measured(name, args)]
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=["wrn10mp:2", "wrn10:1", "wrn10:2"], help="NAME:WIDTH")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--ratio", type=int, default=1)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each net, all loops together")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=0, help="of torchvision's DataLoader")
    parser.add_argument("--cpu-time", action="store_true", help="processor time: for a machine that others use too")
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--quick", action="store_true", help="the first net, six seconds, no memory")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    args = parser.parse_args()
    if args.quick:
        args.nets, args.seconds, args.skip_memory = args.nets[:1], 6.0, True
    return args


def _measured(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    loops = {loop: made(_net(name, args), args) for loop, made in LOOPS.items()}
    turn = max(2, round(args.seconds / 30 / loops["bare"](3)))  # steps a turn, for some ten turns
    seconds: dict[str, list[float]] = {loop: [] for loop in LOOPS}
    end = time.perf_counter() + args.seconds
    while time.perf_counter() < end or len(seconds["bare"]) < 3:
        for loop, run in loops.items():
            seconds[loop].append(run(turn))
    memory = {} if args.skip_memory else {loop: _peak_of(loop, name, args) for loop in LOOPS}
    flops = _flops(name, args) / 1e6
    rows: list[dict[str, Any]] = []
    for loop in LOOPS:
        pairs = [bare / this for bare, this in zip(seconds["bare"], seconds[loop], strict=True)]
        ratio = statistics.median(pairs)
        rate = args.batch * (1 + args.ratio) / statistics.median(seconds[loop])
        row = {"name": f"{name}, {loop}", "metric": "speed", "value": rate, "unit": "images/s", "against": "bare"}
        rows.append(row | {"std": statistics.pstdev(pairs), "n": len(pairs), "ratio": ratio, "mflops": flops})
        peak = " | "
        if memory:
            share = memory[loop] / memory["bare"]
            peak = f"{memory[loop] / 1e6:,.0f} MB | {share:.2f}"
            row = {"name": f"{name}, {loop}", "metric": "peak memory", "value": memory[loop], "unit": "bytes"}
            rows.append(row | {"std": 0.0, "n": 1, "against": "bare", "ratio": share})
        print(f"| {name} | {flops:,.1f} | {loop} | {rate:,.0f} | {ratio:.3f} | {peak} |", flush=True)
    return rows


def _bare(net: nn.Module, args: argparse.Namespace) -> Run:
    clock = time.process_time if args.cpu_time else time.perf_counter
    net = net.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    image_BCHW, target_BC = _pictures(args.batch * (1 + args.ratio), args.size)
    image_BCHW = augment(image_BCHW, NOISE, torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)

    def run(steps: int) -> float:
        began = clock()
        for _ in range(steps):
            optimizer.zero_grad()
            cross_entropy(net(image_BCHW), target_BC).backward()
            optimizer.step()
        return (clock() - began) / steps

    run(1)
    return run


def _ours(net: nn.Module, args: argparse.Namespace) -> Run:
    clock = time.process_time if args.cpu_time else time.perf_counter
    labeled, pseudo = (Examples(*_pictures(2048, args.size), torch.ones(2048, dtype=torch.int64)) for _ in range(2))

    def run(steps: int) -> float:
        """From the end of a first step to the end of `steps` more."""
        ends: list[float] = []
        recipe = Recipe(steps + 1, args.batch, args.ratio, 0.01, 0.9, 5e-4, 1, 0.99, 0.1, args.clip)
        train(net, labeled, pseudo, recipe, NOISE, 0, log=lambda _: ends.append(clock()), log_every=1)
        return (ends[-1] - ends[0]) / steps

    run(1)
    return run


def _torchvision(net: nn.Module, args: argparse.Namespace) -> Run:
    clock = time.process_time if args.cpu_time else time.perf_counter
    net = net.train()
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    count = args.batch * (1 + args.ratio)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        loader = DataLoader(
            Files(4096, args.size), count, shuffle=True, drop_last=True, num_workers=args.workers,
            persistent_workers=args.workers > 0
        )  # fmt: skip
        while True:
            yield from loader

    ready = batches()

    def run(steps: int) -> float:
        began = clock()
        for image_BCHW, target_BC in (next(ready) for _ in range(steps)):
            loss = cross_entropy(net(image_BCHW), target_BC, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            average.update_parameters(net)
        return (clock() - began) / steps

    run(1)
    return run


LOOPS: dict[str, Callable[[nn.Module, argparse.Namespace], Run]] = {
    "bare": _bare,
    "ours": _ours,
    "torchvision": _torchvision,
}


def _net(name: str, args: argparse.Namespace) -> nn.Module:
    net, width = name.split(":")
    torch.manual_seed(0)
    depth = 0.0 if net in PLAIN else 0.1
    return build(net, channels=3, classes=CLASSES, width=int(width), dropout=0.1, stochastic_depth=depth)


def _pictures(count: int, size: int) -> tuple[Tensor, Tensor]:
    """uint8 images and soft targets."""
    gen = torch.Generator().manual_seed(0)
    image_NCHW = torch.randint(0, 256, (count, 3, size, size), generator=gen, dtype=torch.uint8)
    return image_NCHW, torch.rand(count, CLASSES, generator=gen).softmax(dim=1)


def _flops(name: str, args: argparse.Namespace) -> float:
    """Of a forward pass of one image; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        _net(name, args).eval()(_pictures(1, args.size)[0])
    return float(counter.get_total_flops())


def _peak_of(loop: str, name: str, args: argparse.Namespace) -> int:
    """Most memory a loop holds beyond what its process held before, in a process of its own."""
    given = ["--nets", name, "--memory", loop, "--threads", str(args.threads), "--workers", "0"]
    given += ["--size", str(args.size), "--batch", str(args.batch), "--ratio", str(args.ratio)]
    done = subprocess.run([sys.executable, __file__, *given], capture_output=True, text=True, check=True)
    return int(done.stdout)


def _peak(args: argparse.Namespace) -> int:
    torch.set_num_threads(args.threads)
    net = _net(args.nets[0], args)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    LOOPS[args.memory](net, args)(4)
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


class Files(Dataset[tuple[Tensor, Tensor]]):
    """Images in memory, each through torchvision's transforms when it is asked for."""

    def __init__(self, count: int, size: int) -> None:
        self._image_NCHW, self._target_NC = _pictures(count, size)
        self._transform = v2.Compose(
            [
                v2.RandomCrop(size, padding=4, padding_mode="reflect"),
                v2.RandomHorizontalFlip(),
                v2.RandAugment(num_ops=2, magnitude=15),
                v2.RandomErasing(p=1.0, scale=(1 / 16, 1 / 16), ratio=(1.0, 1.0)),
            ]
        )

    def __len__(self) -> int:
        return len(self._image_NCHW)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._transform(self._image_NCHW[index]), self._target_NC[index]


if __name__ == "__main__":
    main()
