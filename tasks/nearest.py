"""k-NN on a net's own features, for `evaluate`: what the labeled images say of the test without the net's head."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tasks.core.compare import compare
from tasks.core.neighbours import Reference, choose
from tasks.core.predict import predict
from tasks.images.store import Images
from tasks.nets.features import seen_by
from tasks.params import Settings

MOST = 20_000  # labeled images that are neighbours; of more, the first by id, which is as good as drawn


def look(net: nn.Module, image_NCHW: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Probabilities (N, C) as `predict` gives them, and the features (N, D) they were made from."""
    prob, feature = [], []
    with seen_by(net) as seen:
        for part in torch.split(image_NCHW, batch):
            prob.append(predict(net, part, batch))
            feature.append(seen.features_BD)
    return torch.cat(prob), torch.cat(feature)


def reference(
    settings: Settings, images: Images, net: nn.Module, labeled: dict[str, str], classes: list[str]
) -> Reference | None:
    """The labeled images as this net sees them; None where there are fewer than two."""
    ids, seen, labels = sorted(labeled)[:MOST], [], []
    for chunk_ids, image_NCHW in images.batches(ids, settings.image, settings.label.chunk) if ids else ():
        seen.append(look(net, image_NCHW, settings.label.batch)[1])
        labels += [classes.index(labeled[image_id]) for image_id in chunk_ids]
    return choose(torch.cat(seen), torch.tensor(labels), len(classes)) if seen else None


def score(found: Reference, voted_N: np.ndarray, said_N: np.ndarray, truth_N: np.ndarray) -> dict[str, Any]:
    """Accuracy of the neighbours' vote, and the net's gain over it on the same images (classes, N > 0 of each)."""
    knn_N, gain = voted_N == truth_N, compare(said_N == truth_N, voted_N == truth_N)
    return {
        "accuracy": round(float(knn_N.mean()), 6),
        "k": found.k,
        "neighbours": len(found.label_N),
        "left_out": round(found.left_out, 6),
        "gain": gain.as_dict(),
    }
