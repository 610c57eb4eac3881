"""What frozen backbones see, kept under .work/features: an image goes through a backbone once, whoever asks.

    .work/features/<backbone>/<its images>.parquet     sha256 of the pixels, float32 features

`backbone` hashes its weights, its form and the code of the nets; teacher, baseline, students and later runs share it.
Files carry checksums: a damaged one costs computing it again. Deleting the folder costs time and nothing else.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from tasks import files, params
from tasks.core.augment import Noise, augment
from tasks.core.batches import Examples
from tasks.core.head import Head, features, last_layer
from tasks.core.randomness import seed_of
from tasks.core.stopping import Validation
from tasks.errors import Integrity, UserError
from tasks.progress import Progress

HOME = files.WORK / "features"
ASKED = 64  # images at once, always as many
CHUNK = 4096  # images a file: what a kill can cost
STORE_BYTES = 10 * 2**30  # of all backbones; the least recently used go first
FORM = ("net", "width", "channels", "pixels")  # of a card: what a backbone is, beside its weights


class Frozen:
    """A net of which the head alone learns."""

    def __init__(self, net: nn.Module, card: dict[str, Any], start: params.Start, device: torch.device) -> None:
        """`net` with the weights it starts from; `card` is its card."""
        self._net, self._start = net.eval().to(device), start
        if not isinstance(layer := last_layer(net), nn.Linear):
            raise _no_features(card, "it ends in a convolution")
        self.head = Head(layer, card["dropout"])
        self._card, self._folder = card, HOME / _key(net, layer, card)

    def examples(self, given: Examples, noise: Noise, seed: int, name: str) -> Examples:
        """Features in the place of images: of each as it is, and of `start.views - 1` looks at it under noise."""
        gen = torch.Generator().manual_seed(seed_of(seed, "views", 0))
        looks = [self.seen(given.image_NCHW, name)]
        for _ in range(self._start.views - 1):
            noised = [augment(part, noise, gen) for part in torch.split(given.image_NCHW, ASKED)]
            looks.append(self.seen(torch.cat(noised), name))
        count = self._start.views
        return Examples(torch.cat(looks), given.target_NC.repeat(count, 1), given.copies_N.repeat(count))

    def validation(self, given: Validation | None, name: str) -> Validation | None:
        """The same for the images of early stopping, without noise."""
        if given is None:
            return None
        return Validation(self.seen(given.image_NCHW, name), given.target_NC, given.every, given.patience)

    def seen(self, image_NCHW: Tensor, name: str) -> Tensor:
        """Features (N, D, 1, 1) of clean images, from the store as far as they are there."""
        try:
            return kept(self._folder, image_NCHW, lambda part: features(self._net, part, ASKED), name)
        except ValueError as error:
            raise _no_features(self._card, str(error)) from None

    def whole(self, head: nn.Module) -> nn.Module:
        """The net with the head that learnt, in eval mode on the CPU."""
        assert isinstance(head, Head)
        last_layer(self._net).load_state_dict(head.layer.state_dict())
        return self._net.to("cpu").eval()


def _no_features(card: dict[str, Any], why: str) -> UserError:
    what = f"{card['net']} cannot have start.backbone: frozen: {why}"
    return UserError("no_features", what, "set start.backbone to train, or choose another net")


def kept(folder: Path, image_NCHW: Tensor, compute: Callable[[Tensor], Tensor], name: str) -> Tensor:
    """Features of images, in their order; those that are not in `folder` are computed and put there."""
    key_N = np.array([hashlib.sha256(image.numpy().tobytes()).digest() for image in image_NCHW], dtype="V32")
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    found = _read(folder)
    first_of = {key: row for row, key in reversed(list(enumerate(key_N.tolist()))) if key not in found}
    todo = sorted(first_of.values())
    if todo:
        with Progress(len(todo), f"{name}: frozen backbone", "images", 0) as progress:
            for rows in (todo[i : i + CHUNK] for i in range(0, len(todo), CHUNK)):
                feature_PD = compute(image_NCHW[rows])[:, :, 0, 0].numpy()
                _write(folder, key_N[rows], feature_PD)
                found |= dict(zip(key_N[rows].tolist(), feature_PD, strict=True))
                progress.advance(len(rows))
        _make_room(folder)
    return torch.from_numpy(np.stack([found[key] for key in key_N.tolist()]))[:, :, None, None]


def _read(folder: Path) -> dict[Any, np.ndarray]:
    found: dict[Any, np.ndarray] = {}
    for path in sorted(folder.glob("*.parquet")):
        try:
            table = files.read_table(path).to_batches()[0]
        except Integrity:
            print(f"{path} is damaged; its images go through the backbone again", flush=True)
            path.unlink()
            continue
        feature = table.column("feature")
        assert isinstance(feature, pa.FixedSizeListArray)
        flat = feature.flatten().to_numpy()
        found |= dict(zip(table.column("image").to_pylist(), flat.reshape(table.num_rows, -1), strict=True))
    return found


def _write(folder: Path, key_P: np.ndarray, feature_PD: np.ndarray) -> None:
    """One file, named after its images, so that two writers of the same write the same."""
    flat = pa.array(np.ascontiguousarray(feature_PD).reshape(-1), pa.float32())
    feature = pa.FixedSizeListArray.from_arrays(flat, feature_PD.shape[1])
    table = pa.table({"image": pa.array(key_P.tolist(), pa.binary(32)), "feature": feature})
    path = folder / f"{hashlib.sha256(key_P.tobytes()).hexdigest()[:16]}.parquet"
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    files.write_table(table, temporary)
    temporary.replace(path)


def _make_room(ours: Path) -> None:
    left = STORE_BYTES
    for other in sorted(ours.parent.iterdir(), key=lambda path: -path.stat().st_mtime_ns):
        left -= sum(path.stat().st_size for path in other.iterdir())
        if left < 0 and other != ours:
            shutil.rmtree(other, ignore_errors=True)


def _key(net: nn.Module, layer: nn.Module, card: dict[str, Any]) -> str:
    head = {id(value) for value in layer.state_dict(keep_vars=True).values()}
    sha = hashlib.sha256()
    for name, value in net.state_dict(keep_vars=True).items():
        if id(value) not in head:
            sha.update(name.encode())
            sha.update(value.detach().cpu().contiguous().numpy().tobytes())
    form = {name: card.get(name) for name in FORM}
    here = Path(__file__).parent
    code = [files.sha256_file(path) for path in (here / "core/head.py", *sorted((here / "nets").glob("*.py")))]
    return files.digest([sha.hexdigest(), form, code, torch.__version__])[:16]
