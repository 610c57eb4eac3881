"""The nearest neighbours of an image among labeled ones: the reference that a trained head must beat.

Cosine similarity, a plain vote, the smaller class index on a tie: what scikit-learn's KNeighborsClassifier does with
metric="cosine" (a test holds it against that), without its import of a second. N labeled images, M others, D features.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

KS = (1, 3, 5, 10, 20, 50)
ROWS = 1024  # of the similarity matrix in memory at once


@dataclass(frozen=True, slots=True)
class Reference:
    """Labeled images as neighbours, and how many of them vote."""

    feature_ND: Tensor  # of length 1
    label_N: Tensor
    classes: int
    k: int
    left_out: float  # share of labeled images that the others get right, with this k

    def classify(self, feature_MD: Tensor) -> Tensor:
        """The class of each image, (M,)."""
        unit_MD = normalize(feature_MD, dim=1)
        found = [_votes(self, near_RK) for near_RK in _nearest(self.feature_ND, unit_MD, self.k, itself=False)]
        return torch.cat(found).argmax(dim=1)


def choose(feature_ND: Tensor, label_N: Tensor, classes: int) -> Reference | None:
    """The reference with the k of KS that gets most labeled images right, each asked about without itself.

    The smallest such k; None with fewer than two labeled images.
    """
    N = len(label_N)
    if N < 2:
        return None
    unit_ND = normalize(feature_ND, dim=1)
    ks = [k for k in KS if k < N]
    near_NK = torch.cat(list(_nearest(unit_ND, unit_ND, ks[-1], itself=True)))
    tried = [Reference(unit_ND, label_N, classes, k, 0.0) for k in ks]
    right = [float((_votes(r, near_NK[:, : r.k]).argmax(dim=1) == label_N).float().mean()) for r in tried]
    best = max(range(len(ks)), key=lambda i: (right[i], -ks[i]))
    return Reference(unit_ND, label_N, classes, ks[best], right[best])


def against(feature_ND: Tensor, label_N: Tensor, classes: int, k: int) -> Tensor:
    """How one-sidedly the k nearest others (all, where there are fewer) vote against the label of each image, (N,).

    The share of the votes of the strongest other class minus that of its own: above 0 they name another class. NaN for
    an image without others. Memory for a block of rows, however many classes there are.
    """
    unit_ND = normalize(feature_ND, dim=1)
    k = min(k, len(label_N) - 1)
    if k < 1:
        return torch.full((len(label_N),), torch.nan)
    voters, margin = Reference(unit_ND, label_N, classes, k, 0.0), []
    for own_R, near_RK in zip(torch.split(label_N, ROWS), _nearest(unit_ND, unit_ND, k, itself=True), strict=True):
        votes_RC = _votes(voters, near_RK)
        mine_R = votes_RC.gather(1, own_R[:, None])[:, 0]
        votes_RC.scatter_(1, own_R[:, None], 0)
        margin.append((votes_RC.max(dim=1).values - mine_R) / k)
    return torch.cat(margin)


def _nearest(unit_ND: Tensor, unit_MD: Tensor, k: int, itself: bool) -> Iterator[Tensor]:
    """Indices (R, k) of the nearest, nearest first, some rows at a time; `itself`: row m is image m, no neighbour."""
    for start in range(0, len(unit_MD), ROWS):
        similar_RN = unit_MD[start : start + ROWS] @ unit_ND.T
        if itself:
            similar_RN.diagonal(start).fill_(-torch.inf)
        yield similar_RN.topk(k, dim=1).indices


def _votes(reference: Reference, near_RK: Tensor) -> Tensor:
    """Votes (R, C)."""
    label_RK = reference.label_N[near_RK]
    return torch.zeros(len(near_RK), reference.classes, dtype=torch.int64).scatter_add_(
        1, label_RK, torch.ones_like(label_RK)
    )
