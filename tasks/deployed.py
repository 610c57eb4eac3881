"""A net as an ONNX file that says itself what it takes and gives, held against torch. Letters: B batch, C classes.

The file takes `image`, uint8 (B, channels, size, size) as `tasks/images` makes it, and gives `probability`, float32
(B, C); its metadata name the classes in order. ONNX: Open Neural Network Exchange, onnx.ai.
"""

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks.errors import Integrity

TOLERANCE = 1e-4  # largest difference of a probability; float32 sums in another order differ by about 1e-6
SINGLE, BATCH = 50, 5  # timed passes; the median counts


class Probabilities(nn.Module):
    """A net and its softmax."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        """uint8 (B, channels, size, size) to probabilities (B, C)."""
        logit_BC: Tensor = self.net(image)
        return logit_BC.float().softmax(dim=1)


def export(net: nn.Module, card: dict[str, Any], path: Path) -> None:
    """Write the net; the same net gives the same bytes."""
    image_BCHW = torch.zeros((2, card["channels"], card["size"], card["size"]), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own parts
        program = torch.onnx.export(
            Probabilities(net).eval(),
            (image_BCHW,),
            input_names=["image"],
            output_names=["probability"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        del part.metadata_props[:]  # paths and line numbers of this machine's Python
        part.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
    about = {"classes": json.dumps(card["classes"]), "net": card["net"], "made_by": "understudy"}
    for key, value in about.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString(deterministic=True))


def session(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """ONNX Runtime on the file: uint8 images (B, channels, size, size) to probabilities (B, C)."""
    import onnxruntime

    opened = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(image_BCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        [prob_BC] = opened.run(None, {"image": image_BCHW})
        return np.asarray(prob_BC, np.float32)

    return run


def check(path: Path, image_NCHW: Tensor, prob_NC: Tensor, batch: int) -> float:
    """Largest difference between what the file says of the images and what torch said. Integrity above TOLERANCE."""
    run = session(path)
    said_NC = np.concatenate([run(part.numpy()) for part in torch.split(image_NCHW, batch)])
    difference = float(np.abs(said_NC - prob_NC.numpy()).max())
    if not difference <= TOLERANCE:  # nan too
        what = f"{path.name}: a probability differs by {difference:.2g} from torch's (allowed {TOLERANCE})"
        raise Integrity("other_answers", what, "report it, with this folder and the versions of torch and onnxruntime")
    return difference


def speed(run: Callable[[Any], Any], image_BCHW: Any) -> dict[str, float]:
    """Milliseconds for one image alone, and images a second in a batch: medians on this machine, as busy as it is."""
    single = [_seconds(run, image_BCHW[:1]) for _ in range(SINGLE + 1)][1:]
    many = [_seconds(run, image_BCHW) for _ in range(BATCH + 1)][1:]
    return {"ms": round(1000 * median(single), 4), "images_per_s": round(len(image_BCHW) / median(many), 1)}


def _seconds(run: Callable[[Any], Any], image_BCHW: Any) -> float:
    began = time.perf_counter()
    run(image_BCHW)
    return time.perf_counter() - began
