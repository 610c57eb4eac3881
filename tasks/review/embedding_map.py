"""The images of a review as points, near where a net sees them alike: FiftyOne's Embeddings panel and similar images.

FiftyOne's brain is handed our own features and points: left to itself it would fetch a net from the web. N images,
D features.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.params import Settings
from tasks.review import workspaces
from tasks.review.features import Features

MAP, SIMILAR = "map", "similar"  # keys of the brain runs
MOST = 5000  # images on the map: a browser draws so many with ease, and t-SNE takes a minute for them
ENOUGH = 64  # components that say which images are alike
COLORED = {"map by class": "review.label", "map by round": "first_kept", "map by reason": "reason"}
BY_QUEUE = {"map by reason queued": "queue_reason"}


def ids(first: Sequence[str], others: Sequence[str]) -> list[str]:
    """The images to put on the map: all of `first`, then of the others, sorted, as many as still fit.

    An id is a hash, so the first ones by id are as good as drawn.
    """
    left = sorted(set(others) - set(first))
    return [*first, *left][:MOST]


def add(fo: Any, data: Any, shown: Sequence[str], seen: Features, settings: Settings, queued: bool) -> None:
    """Store map and similarity of the images `shown` (ids) with a data set, and a workspace for each colouring."""
    from fiftyone import brain

    sample_of = dict(zip(*data.values(["image_id", "id"]), strict=True))
    is_known_N = ~np.isnan(seen.of(shown)).any(axis=1)
    if is_known_N.sum() < 3:
        return
    known = [sample_of[image_id] for image_id, is_known in zip(shown, is_known_N, strict=True) if is_known]
    view = data.select(known)
    reduced_ND = reduce(seen.of(view.values("image_id")))
    brain.compute_visualization(
        view, points=plane(reduced_ND, settings.review.map, settings.seed), brain_key=MAP, verbose=False
    )
    brain.compute_similarity(view, embeddings=reduced_ND, brain_key=SIMILAR, backend="sklearn", metric="cosine")
    workspaces.save_maps(fo, data, COLORED | (BY_QUEUE if queued else {}))


def reduce(feature_ND: np.ndarray) -> np.ndarray:
    """Directions of the features, in at most ENOUGH principal components, (N, at most ENOUGH)."""
    from sklearn.decomposition import PCA

    length_N = np.linalg.norm(feature_ND, axis=1, keepdims=True)
    unit_ND: np.ndarray = feature_ND / np.maximum(length_N, np.finfo(np.float32).tiny)
    if unit_ND.shape[1] <= ENOUGH:
        return unit_ND
    found: np.ndarray = PCA(min(ENOUGH, len(unit_ND)), svd_solver="covariance_eigh").fit_transform(unit_ND)
    return found


def plane(feature_ND: np.ndarray, how: str, seed: int) -> np.ndarray:
    """N >= 3 images as points, (N, 2): `pca`, or `tsne` (van der Maaten, Hinton 2008), which keeps neighbours."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    found: np.ndarray
    if how == "pca":
        found = PCA(2, svd_solver="covariance_eigh").fit_transform(feature_ND)
    else:
        perplexity = min(30.0, (len(feature_ND) - 1) / 3)
        found = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(feature_ND)
    return found
