"""What each process of `torchrun` runs in test_engine.py: train one small net together and leave its weights.

torchrun --nproc-per-node 2 -m tests.core.two_processes FILE
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from tasks.core.train import train
from tests.core.small_training import EXAMPLES, NOISE, PARTS, PSEUDO, VALIDATION, net


def main(out: Path) -> None:
    """Every process trains; each leaves what it ended with."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rows: list[dict[str, float]] = []
    trained = train(net(), EXAMPLES, PSEUDO, PARTS, NOISE, 3, validation=VALIDATION, log=rows.append, log_every=3)
    assert "torch._dynamo" not in sys.modules, "torch's compiler takes 3 s to load; a step needs none of it"
    loss = torch.tensor([row["loss"] for row in rows])
    save_file(trained.state_dict() | {"logged": loss}, out.with_suffix(f".{dist.get_rank()}"))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
