"""What a net has learnt before it learns here: the weights that its settings name, put into it under a head of its own.

They are inputs like all others: hashed, watched while the stage runs, named in its record and in the net's card.
"""

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from tasks import files, params
from tasks.core.head import last_layer
from tasks.errors import Integrity, UserError
from tasks.models import CARD, WEIGHTS
from tasks.nets import pretrained
from tasks.stage import Stage

PUT = f"put a .safetensors or .pth file, or a folder with {WEIGHTS} and {CARD}, into {files.STARTS}"


@dataclass(frozen=True, slots=True)
class Start:
    """Weights to start from; without any, nets start as they are built."""

    path: Path | None = None
    tensors: dict[str, Tensor] = field(default_factory=dict)  # by their names in our net
    keeps_head: bool = False
    card: dict[str, Any] = field(default_factory=dict)  # what of it belongs into the card of a net

    def into(self, net: nn.Module) -> None:
        """Put the weights into a net, whose head stays unless `keeps_head`. UserError names what does not fit."""
        if self.path is None:
            return
        layer, ours = last_layer(net), net.state_dict()
        where = next(name for name, module in net.named_modules() if module is layer)
        head = set() if self.keeps_head else {f"{where}.{name}" for name in layer.state_dict()}
        new = {name: self._fitting(name, ours[name]) for name in ours.keys() - head}
        for name in sorted(self.tensors.keys() - ours.keys() - head):
            # Theirs may lie elsewhere: a dropout before our head makes it `fc.1` instead of `fc`.
            if not f"{where}.".startswith(f"{name.rpartition('.')[0]}."):
                self._refuse(f"holds {name}, for which this net has no place")
        net.load_state_dict(new, strict=False)

    def _fitting(self, name: str, ours: Tensor) -> Tensor:
        if name not in self.tensors:
            if name.endswith("num_batches_tracked"):  # a counter, which older files do not have
                return ours
            self._refuse(f"lacks {name}")
        theirs = self.tensors[name]
        if theirs.shape != ours.shape:
            self._refuse(f"{name} is {list(theirs.shape)} there and {list(ours.shape)} in this net")
        if not torch.isfinite(theirs).all():
            raise Integrity("bad_weights", f"{self.path}: {name} holds values that are not finite", "fetch it again")
        return theirs.to(ours.dtype)

    def _refuse(self, what: str) -> None:
        raise UserError("other_net", f"{self.path}: {what}", "name the net, and the width, that these weights are of")


NOTHING = Start()


def read(stage: Stage, spec: params.Net, classes: list[str]) -> Start:
    """The weights that `spec.start` names, as an input of the stage. UserError where they cannot be had or read."""
    name = spec.start.weights
    if name == "none":
        return NOTHING
    path, called = _found(spec, name)
    if path.is_dir():
        return _of_ours(stage, spec, path, classes)
    tensors = pretrained.as_ours(spec.net, _tensors(stage.input(path)))
    record = {"weights": called, "sha256": files.sha256_file(path), "head": "new"}
    wanted = pretrained.scaling(spec.net)
    pixels = {"pixels": {"mean": wanted[0], "std": wanted[1]}} if wanted else {}
    return Start(path, tensors, card={"started": record} | pixels)


def _found(spec: params.Net, name: str) -> tuple[Path, str]:
    """Where the weights lie, and what they are called."""
    if name != "imagenet":
        if not (path := files.STARTS / name).exists():
            raise UserError("no_weights", f"start.weights: {path} does not exist", PUT)
        return path, name
    try:
        return pretrained.fetch(spec.net, files.WORK / "weights")
    except (OSError, RuntimeError) as error:
        what = f"the trained weights of {spec.net} cannot be had: {error}"
        fix = f"where there is no network, {PUT} and set start.weights to its name"
        raise UserError("no_weights", what, fix) from None


def _tensors(path: Path) -> dict[str, Tensor]:
    """A file of named tensors; a .pth file may hold nothing else, and no code in it is run."""
    try:
        if path.suffix == ".safetensors":
            return load(path.read_bytes())
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError) as error:
        what = f"{path} is no file of weights: {str(error).splitlines()[0]}"
        raise UserError("bad_weights", what, "convert it to safetensors, or fetch it again") from None
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        what = f"{path} holds more than named tensors"
        raise UserError("bad_weights", what, "save the net's state_dict alone, as safetensors")
    return found


def _of_ours(stage: Stage, spec: params.Net, folder: Path, classes: list[str]) -> Start:
    """A net of understudy's, with its card; the head is kept where it knew the same classes in the same order."""
    for name in files.NET:
        if not (folder / name).is_file():
            raise UserError("no_weights", f"{folder} holds no {name}, so it is no net of understudy's", PUT)
    try:
        card = files.read_json(stage.input(folder / CARD))
        its_net = card["net"], card["width"]
        pixels, channels, known = card.get("pixels"), card["channels"], card["classes"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("bad_weights", f"{folder / CARD} is no card of a net: {error!r}", PUT) from None
    if its_net != (spec.net, spec.width):
        what = f"{folder} is a net {its_net[0]} x{its_net[1]}, and this one is {spec.net} x{spec.width}"
        raise UserError("other_net", what, "name the same net and width, or other weights")
    if (wanted := stage.settings.image.channels) != channels and not pixels:
        if wanted != 1:
            what = f"{folder} learnt from images of {channels} channel, and image.channels is {wanted}"
            raise UserError("other_net", what, "set image.channels to 1, or name other weights")
        pixels = {"mean": [0.5] * channels, "std": [0.25] * channels}
    path = stage.input(folder / WEIGHTS)
    keeps = known == classes
    record = {"weights": folder.name, "sha256": files.sha256_file(path), "head": "kept" if keeps else "new"}
    about = {"started": record} | ({"pixels": pixels} if pixels else {})
    return Start(path, _tensors(path), keeps, about)
