"""A training run as one flat dict of tensors, from which a later process goes on with the same bits."""

import torch
from torch import Tensor, nn

from tasks.core.optimizer import SGD

State = dict[str, Tensor]


def snapshot(step: int, net: nn.Module, average: nn.Module, optimizer: SGD, more: State) -> State:
    """All that a later process needs to go on after `step` steps, as contiguous copies, and `more` as it is."""
    momentum = {name: optimizer.state[p].get("momentum_buffer") for name, p in net.named_parameters()}
    flat = {f"net.{name}": value for name, value in net.state_dict().items()}
    flat |= {f"average.{name}": value for name, value in average.state_dict().items()}
    flat |= {f"momentum.{name}": value for name, value in momentum.items() if value is not None}
    copies = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in flat.items()}
    return copies | more | {"step": torch.tensor(step)}


def restore(state: State, net: nn.Module, average: nn.Module, optimizer: SGD) -> int:
    """Undo `snapshot`; returns the number of steps done."""
    for prefix, module in (("net.", net), ("average.", average)):
        module.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    for name, p in net.named_parameters():
        if f"momentum.{name}" in state:
            optimizer.state[p]["momentum_buffer"] = torch.empty_like(p).copy_(state[f"momentum.{name}"])
    return int(state["step"])
