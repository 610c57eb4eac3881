"""Several processes of this machine train one net: the stage's own and helpers, which it starts and ends.

The group is the one torchrun makes (gloo); here the stage stays the first process, so that its lock, its checkpoints
and its exit code are what they always are. Every process holds the images; a step's parts are shared.
"""

import ctypes
import os
import pickle
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing import get_context

from tasks.core.train import train
from tasks.stage import PR_SET_PDEATHSIG

ENDS = 60.0  # seconds a helper may take to end after its last step


def train_together(count: int, *args: Any, **more: Any) -> nn.Module:
    """What `train(*args, **more)` returns, computed by `count` processes; `save` and `log` are called in this one."""
    if count == 1:
        return train(*args, **more)
    threads = torch.get_num_threads()
    each = max(threads // count, 1)
    silent = {name: value for name, value in more.items() if name not in {"save", "save_every", "log", "log_every"}}
    with tempfile.TemporaryDirectory() as folder:
        meet = f"file://{Path(folder) / 'meet'}"
        packed = pickle.dumps((args, silent))  # by value: tensors handed to spawn would need room in /dev/shm
        context = get_context("spawn")
        helpers = [
            context.Process(target=_help, args=(rank, count, meet, each, packed), daemon=True)
            for rank in range(1, count)
        ]
        for helper in helpers:
            helper.start()
        torch.set_num_threads(each)
        try:
            with _group(0, count, meet):
                net = train(*args, **more)
            for helper in helpers:
                helper.join(ENDS)
        finally:
            torch.set_num_threads(threads)
            for helper in helpers:
                helper.kill()
    return net


def _help(rank: int, count: int, meet: str, threads: int, packed: bytes) -> None:
    """A helper: the same training, of which it keeps nothing. It ends with the stage, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    torch.set_num_threads(threads)
    args, more = pickle.loads(packed)  # noqa: S301 - the stage's own words
    # A loss that is not finite is the same everywhere: the stage says it.
    with suppress(FloatingPointError), _group(rank, count, meet):
        train(*args, **more)


@contextmanager
def _group(rank: int, count: int, meet: str) -> Iterator[None]:
    """A process group of torch, on this machine only."""
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=count)
    try:
        yield
    finally:
        dist.destroy_process_group()
