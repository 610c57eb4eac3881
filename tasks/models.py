"""Trained nets on disk: safetensors plus a JSON card that says all it takes to build the net again. Never pickle."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from tasks import files
from tasks.errors import Integrity, UserError
from tasks.nets.catalog import build
from tasks.nets.pixels import scale

WEIGHTS, CARD = files.NET


def save_model(folder: Path, net: nn.Module, card: dict[str, Any]) -> None:
    """Write weights and card; the card's build keys are those load_model needs, `classes` is the class order."""
    (folder / WEIGHTS).write_bytes(save({name: t.contiguous() for name, t in net.state_dict().items()}))
    files.write_json(card, folder / CARD)


def load_model(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The net in eval mode and its card. Integrity if a weight is not finite: such a net labels nothing."""
    card = files.read_json(folder / CARD)
    weights = load((folder / WEIGHTS).read_bytes())
    bad = [name for name, t in weights.items() if not torch.isfinite(t).all()]
    if bad:
        what = f"{folder / WEIGHTS}: {bad[0]} holds values that are not finite"
        raise Integrity("bad_weights", what, f"rm -r {folder}, then `dvc repro`: the net is trained again")
    net = build_from(card)
    net.load_state_dict(weights)
    return net.eval(), card


def build_from(card: dict[str, Any]) -> nn.Module:
    """An untrained net of the form the card describes. UserError where there is no such net."""
    pixels = card.get("pixels")  # of nets that started from weights with their own (tasks/starts.py)
    try:
        net = build(
            card["net"],
            channels=len(pixels["mean"]) if pixels else card["channels"],
            classes=len(card["classes"]),
            width=card["width"],
            dropout=card["dropout"],
            stochastic_depth=card["stochastic_depth"],
        )
    except ValueError as error:
        raise UserError("no_such_net", f"net: {card['net']}: {error}", "see `net` in docs/params.md") from None
    if pixels:
        scale(net, **pixels)
    return net


def parameters(net: nn.Module) -> int:
    """How many weights a net learns."""
    return sum(p.numel() for p in net.parameters())


class Checkpoints:
    """Resume states of one training run in a folder: the newest two, each with its sha256 beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, state: dict[str, Tensor]) -> None:
        """Publish a state by rename; `state["step"]` names it."""
        path = self.folder / f"step-{int(state['step']):09d}.safetensors"
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(save(state))
        files.replace_file(path.with_suffix(".sha256"), files.sha256_file(temporary))
        temporary.replace(path)
        for old in self._paths()[:-2]:
            old.unlink()
            old.with_suffix(".sha256").unlink()

    def latest(self) -> dict[str, Tensor] | None:
        """The newest state that is intact; a damaged one is named and the one before it used. None = start afresh."""
        for path in reversed(self._paths()):
            if files.sha256_file(path) == path.with_suffix(".sha256").read_text(encoding="utf-8"):
                return load(path.read_bytes())
            print(f"checkpoint {path.name} is damaged; going back to the one before it", flush=True)
        return None

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.safetensors"))
