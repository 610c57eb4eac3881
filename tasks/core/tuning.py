"""Fine-tuning a net that has learnt something before: lower rates below its head, and layers that wait for their turn.

Howard & Ruder, "Universal language model fine-tuning for text classification" (arXiv:1801.06146), section 3.2:
discriminative rates (the paper: each layer 1/2.6 of the one above) and gradual unfreezing, the last layer first. What
is frozen stays as it is bit by bit: no gradient, no weight decay, no momentum, and its batch norm keeps its statistics.
"""

from dataclasses import dataclass

from torch import nn

from tasks.core.head import last_layer


@dataclass(frozen=True, slots=True)
class Tuning:
    """How much each layer learns. As it stands here: all of them alike from the first step on."""

    rate: float = 1.0  # of the layer below the head, in rates of the head
    decay: float = 1.0  # of each further layer, in rates of the one above it
    every: int = 0  # steps until the next layer is let go, the head's first; 0 = all from the start


ALIKE = Tuning()


def layers(net: nn.Module) -> list[list[str]]:
    """Names of a net's weights by layer, the head last: a matrix or filter, and the vectors that come after it.

    The order is that in which the net lists its layers, which in all nets here is the one in which images pass them.
    """
    head = {id(p) for p in last_layer(net).parameters()}
    found: list[list[str]] = [[]]
    for name, p in net.named_parameters():
        if id(p) in head:
            continue
        if p.ndim > 1 and found[-1]:
            found.append([])
        found[-1].append(name)
    return [*found, [name for name, p in net.named_parameters() if id(p) in head]]


def rates(net: nn.Module, tuning: Tuning) -> dict[str, float]:
    """The learning rate of every weight, in rates of the head."""
    if tuning.rate == tuning.decay == 1.0:
        return {name: 1.0 for name, _ in net.named_parameters()}
    *below, head = layers(net)
    found = dict.fromkeys(head, 1.0)
    for depth, names in enumerate(reversed(below)):
        found |= dict.fromkeys(names, tuning.rate * tuning.decay**depth)
    return found


def let_go(net: nn.Module, tuning: Tuning, step: int) -> None:
    """Freeze, before step `step`, the layers whose turn has not come, and let the others learn.

    A module that holds frozen weights only is in eval mode, so that batch norm keeps its statistics.
    """
    if not tuning.every:
        return
    by_depth = layers(net)
    waiting = {name for names in by_depth[: max(len(by_depth) - 1 - step // tuning.every, 0)] for name in names}
    for name, p in net.named_parameters():
        p.requires_grad_(name not in waiting)
    for module in net.modules():
        if own := list(module.parameters(recurse=False)):
            module.training = any(p.requires_grad for p in own)
