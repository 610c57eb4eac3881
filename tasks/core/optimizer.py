"""SGD as every net here learns with it, and one step of it."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd as torch_sgd

from tasks.core.tuning import Tuning, rates


class SGD:
    """torch.optim.SGD without its class, which loads torch's compiler to be made: 3 s and 150 MB for nothing here.

    The arithmetic is torch's own. `param_groups` and `state` are those of a torch optimizer.
    """

    def __init__(self, groups: list[dict[str, Any]], momentum: float) -> None:
        """`groups` have params, weight_decay and lr each. Nesterov's momentum; 0 is plain SGD."""
        self.param_groups, self.momentum = groups, momentum
        self.state: dict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    @torch.no_grad()
    def step(self) -> None:
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            buffers = [self.state[p].get("momentum_buffer") for p in params]
            torch_sgd(
                params,
                [p.grad for p in params],
                buffers,
                weight_decay=group["weight_decay"],
                momentum=self.momentum,
                lr=group["lr"],
                dampening=0.0,
                nesterov=self.momentum > 0,
                maximize=False,
            )
            self.state |= {p: {"momentum_buffer": b} for p, b in zip(params, buffers, strict=True) if b is not None}


def sgd(net: nn.Module, lr: float, momentum: float, weight_decay: float, tuning: Tuning) -> SGD:
    """SGD with Nesterov momentum; decay on convolution and linear weights, not on biases and norms. Frozen weights
    (`requires_grad` false) stay out. `rate` of a group is its learning rate in rates of the head."""
    rate_of, groups = rates(net, tuning), list[dict[str, Any]]()
    learnt = [(rate_of[name], p) for name, p in net.named_parameters() if p.requires_grad]
    for rate in sorted({rate for rate, _ in learnt}, reverse=True):
        ours = [p for its_rate, p in learnt if its_rate == rate]
        groups += [
            {"params": [p for p in ours if p.ndim > 1], "weight_decay": weight_decay, "rate": rate, "lr": lr},
            {"params": [p for p in ours if p.ndim <= 1], "weight_decay": 0.0, "rate": rate, "lr": lr},
        ]
    return SGD(groups, momentum)


def descend(net: nn.Module, optimizer: SGD, lr: float, clip: float) -> None:
    """One step with the gradients there are, cut to a norm of at most `clip` where that is not 0."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["rate"]
    if clip:
        nn.utils.clip_grad_norm_(net.parameters(), clip)
    optimizer.step()
