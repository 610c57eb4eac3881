"""Early stopping (Prechelt 1998, "Early stopping - but when?"): when more steps no longer help images kept aside.

Letters: N images, C classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasks.core.predict import predict
from tasks.core.snapshot import State

ASKED = 256  # images at once


@dataclass(frozen=True, slots=True)
class Validation:
    """Images that the net does not learn from, and when it is asked about them."""

    image_NCHW: Tensor  # uint8
    target_NC: Tensor  # float32, one-hot
    every: int  # steps from one look to the next
    patience: int  # looks in a row without a better one, after which training ends


class Stopping:
    """The best net so far, by the mean cross entropy of the validation images, and whether it is time to stop."""

    def __init__(self, validation: Validation | None, state: State | None) -> None:
        """Goes on from what `state` holds of an earlier process."""
        self._on, state = validation, state or {}
        self._best = {k.removeprefix("best."): v for k, v in state.items() if k.startswith("best.")}
        self._lowest, self._waited = state.get("lowest"), int(state.get("waited", 0))

    @property
    def over(self) -> bool:
        """Whether `patience` looks in a row found nothing better."""
        return self._on is not None and self._waited >= self._on.patience

    def look(self, net: nn.Module, step: int) -> dict[str, float]:
        """Ask `net` (in eval mode) after `step` steps if it is time to: its loss under the name of the log's column."""
        if self._on is None or step % self._on.every:
            return {}
        prob_NC = predict(net, self._on.image_NCHW, ASKED)
        loss = -(self._on.target_NC * prob_NC.clamp_min(1e-12).log()).sum(dim=1).mean()
        self._waited += 1
        if self._lowest is None or loss < self._lowest:
            self._lowest, self._waited = loss, 0
            self._best = {
                name: value.detach().clone(memory_format=torch.contiguous_format)
                for name, value in net.state_dict().items()
            }
        return {"loss_validation": loss.item()}

    def best(self, net: nn.Module) -> nn.Module:
        """`net` with the weights of the best look; unchanged where there was none."""
        if self._best:
            net.load_state_dict(self._best)
        return net

    def state(self) -> State:
        """What a later process needs to go on."""
        if self._lowest is None:
            return {}
        best = {f"best.{name}": value for name, value in self._best.items()}
        return best | {"lowest": self._lowest, "waited": torch.tensor(self._waited)}


def set_aside(target_NC: Tensor, share: float, gen: torch.Generator) -> Tensor:
    """bool (N,): `share` of each class's images, rounded, drawn by `gen`; every class keeps one to learn from."""
    label_N = target_NC.argmax(dim=1)
    aside_N = torch.zeros(len(label_N), dtype=torch.bool)
    for label in range(target_NC.shape[1]):
        row_K = (label_N == label).nonzero().flatten()
        count = min(round(share * len(row_K)), max(len(row_K) - 1, 0))
        aside_N[row_K[torch.randperm(len(row_K), generator=gen)[:count]]] = True
    return aside_N
