"""The ways to bring images through a net that data_plane.py measures: ours, torchvision's and FiftyOne's."""

import logging
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tasks import files, params
from tasks.core.predict import predict_each
from tasks.images.decode import decode
from tasks.images.store import Images
from tasks.nets.catalog import build

CORES = os.cpu_count() or 1


@dataclass
class Case:
    """One net on one set of images: a folder with a finished ingest, in which the measurements run."""

    name: str
    folder: Path
    net: nn.Module
    form: params.Image
    limit: int  # images that go through the net
    batch: int
    chunk: int


class Scaled(nn.Module):
    """A torchvision net that takes uint8 images, as ours do: all that feed it pay the same for scaling."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Logits (N, classes)."""
        logit_NC: Tensor = self.net((image_NCHW.float() / 255 - 0.45) / 0.225)
        return logit_NC


class Files(Dataset[tuple[Tensor, int]]):
    """Image files through torchvision's transforms, as its tutorials read them."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self._paths, self._transform = paths, transforms(size)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self._paths[index]) as image:
            return self._transform(image.convert("RGB")), index


def transforms(size: int) -> Any:
    """Shorter side to `size`, middle cut out, uint8 tensor; nothing is resized that has the size already."""
    from torchvision import transforms as tv

    return tv.Compose([tv.Resize(size, antialias=True), tv.CenterCrop(size), tv.PILToTensor()])


def cases(small: Path, large: Path, quick: bool) -> list[Case]:
    """The nets and what they see."""
    import torchvision

    torch.manual_seed(0)
    wrn = build("wrn10", channels=3, classes=10, width=1, dropout=0.0, stochastic_depth=0.0).eval()
    resnet = Scaled(torchvision.models.resnet18()).eval()
    few, some, many = (48, 1500, 2000) if quick else (384, 10_000, 20_000)
    return [
        Case("wrn10 x1 at 32", small, wrn, params.Image(size=32, channels=3, background=0), some, 128, 1024),
        Case("wrn10 x1 at 16", small, wrn, params.Image(size=16, channels=3, background=0), many, 128, 1024),
        Case("ResNet-18 at 224", large, resnet, params.Image(size=224, channels=3, background=0), few, 16, 32),
    ]


def label(case: Case, ids: list[str]) -> float:
    """Seconds for reading, predicting and writing chunks, as the stage does."""
    out = Path("chunks")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    start = time.perf_counter()
    batches = Images(files.IMAGES, params.Cache(max_gb=20)).batches(ids, case.form, case.chunk)
    for number, (found, said_NC) in enumerate(predict_each(case.net, batches, case.batch)):
        prob_NC = said_NC.numpy()
        prob = pa.FixedSizeListArray.from_arrays(pa.array(prob_NC.ravel()), prob_NC.shape[1])
        files.write_table(pa.table({"image_id": pa.array(found), "prob": prob}), out / f"chunk-{number}.parquet")
    return time.perf_counter() - start


def data_loader(case: Case, paths: list[Path], workers: int) -> float:
    """Seconds for the loop everybody writes first; results are kept as ours are."""
    start = time.perf_counter()
    loader = DataLoader(Files(paths, case.form.size), case.batch, num_workers=workers)
    with torch.inference_mode():
        torch.cat([case.net(image_NCHW).softmax(dim=1) for image_NCHW, _ in loader])
    return time.perf_counter() - start


def fiftyone(case: Case, paths: list[Path]) -> float:
    """Seconds of apply_model alone: making the data set is not counted."""
    from tasks.review import database

    fo = database.connect()
    import fiftyone.utils.torch as fot

    logging.getLogger("fiftyone").setLevel(logging.ERROR)
    classes = [str(number) for number in range(1000)]
    model = fot.TorchImageModel(
        fot.TorchImageModelConfig(
            {
                "model": case.net,
                "transforms": transforms(case.form.size),
                "ragged_batches": False,
                "output_processor_cls": "fiftyone.utils.torch.ClassifierOutputProcessor",
                "classes": classes,
                "device": "cpu",
            }
        )
    )
    dataset = fo.Dataset()
    dataset.add_samples((fo.Sample(filepath=str(path)) for path in paths), num_samples=len(paths))
    start = time.perf_counter()
    dataset.apply_model(model, "said", batch_size=case.batch, num_workers=0, skip_failures=False)
    seconds = time.perf_counter() - start
    assert dataset.count("said.label") == len(paths), "FiftyOne did not label every image"
    dataset.delete()
    return seconds


def decoding(case: Case, paths: list[Path]) -> float:
    """Seconds for decoding alone, by threads on all cores."""
    contents = [path.read_bytes() for path in paths]
    form = case.form
    start = time.perf_counter()
    with ThreadPoolExecutor(CORES) as pool:
        parts = np.array_split(np.arange(len(contents)), 4 * CORES)
        list(
            pool.map(
                lambda part: [decode(contents[i], form.size, form.channels, form.background) for i in part.tolist()],
                parts,
            )
        )
    return time.perf_counter() - start
