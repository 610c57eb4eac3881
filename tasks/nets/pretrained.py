"""Trained weights of torchvision and timm: where they are had, what their tensors are called, how they want pixels.

A file's tensors are named as in the net it is of; here such a net is the part `net` of FromTorchvision or FromTimm.
"""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from safetensors.torch import save
from torch import Tensor

from tasks.nets import from_timm
from tasks.nets.names import TIMM, TORCHVISION

MIRROR = "UNDERSTUDY_WEIGHTS_URL"  # where torchvision's files are fetched instead, for machines behind a proxy
HASH = re.compile(r"-([0-9a-f]{8,64})\.\w+$")  # torchvision's files carry the start of their sha256 in their name
# What was called `norm.1` when DenseNet's weights were made is `norm1` today.
DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var))$")
SIDE_HEADS = ("aux1.", "aux2.", "AuxLogits.")  # of GoogLeNet and Inception, which learn without them here
CENTRED = ("googlenet", "inception_v3")  # their trained weights come with `transform_input`, which undoes ImageNet's


def scaling(name: str) -> tuple[list[float], list[float]] | None:
    """Mean and std, one a channel, of the pixels that the trained weights of a net expect; None for nets of our own."""
    if name.startswith(TIMM):
        return from_timm.scaling(name.removeprefix(TIMM))
    if not name.startswith(TORCHVISION):
        return None
    its_name = name.removeprefix(TORCHVISION)
    if its_name in CENTRED:
        return [0.5] * 3, [0.5] * 3
    seen = _newest(its_name).transforms()
    return list(seen.mean), list(seen.std)


def fetch(name: str, folder: Path) -> tuple[Path, str]:
    """The newest trained weights of a net as a file in `folder`, and what they are called. A file that is there already
    is not fetched again. OSError or RuntimeError, which say why, where they cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if name.startswith(TIMM):
        path = folder / f"timm-{name.removeprefix(TIMM)}.safetensors"
        if not path.is_file():
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_bytes(save({k: v.contiguous() for k, v in from_timm.trained(path.stem[5:]).items()}))
            temporary.replace(path)
        return path, name
    newest = _newest(name.removeprefix(TORCHVISION))
    return download(newest.url, folder), str(newest)


def download(url: str, folder: Path) -> Path:
    """A file of torchvision's, whose name says the start of its sha256: anything else is refused (RuntimeError)."""
    address = urlsplit(url)
    if mirror := os.environ.get(MIRROR):
        url = f"{mirror.rstrip('/')}/{Path(address.path).name}"
    path, found = folder / Path(address.path).name, HASH.search(address.path)
    if not found:
        raise RuntimeError(f"{url}: its name does not say its sha256, so nothing says whether it is the right file")
    if not path.is_file():
        print(f"fetching {url}", flush=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=found[1], progress=False)
    return path


def as_ours(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors under the names they have in our net; side heads are left out."""
    if not name.startswith((TIMM, TORCHVISION)) or any(key.startswith("net.") for key in tensors):
        return tensors
    kept = {DENSENET.sub(r"\1\2", key): value for key, value in tensors.items() if not key.startswith(SIDE_HEADS)}
    return {f"net.{key}": value for key, value in kept.items()}


def _newest(name: str) -> Any:
    import torchvision

    return torchvision.models.get_model_weights(name).DEFAULT
