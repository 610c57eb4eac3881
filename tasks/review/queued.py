"""The queue of `understudy review --budget N`: which accepted labels to look at first, and why each.

It draws on labels that are learnt from and that nobody decided on yet. tasks/core/evidence.py has what speaks against a
label, tasks/core/budget.py how the lists are mixed; here is what they need of the files.
"""

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks import files
from tasks.core import budget, doubt, evidence
from tasks.params import Settings
from tasks.review import rows
from tasks.review.features import Features

NOTHING = pd.DataFrame({"image_id": [], "queue_rank": [], "queue_reason": []}, dtype=object)
REASONS = ("random", "disagreement", "atypical", "copies", "rare_class", "threshold")


def candidates(reviewed: pd.DataFrame) -> pd.DataFrame:
    """The rows that can be queued."""
    return reviewed[reviewed["reason"].isin(rows.KEPT) & (reviewed["decision"] == "")]


def enqueue(reviewed: rows.Reviewed, round_: str, settings: Settings, size: int, seen: Features | None) -> pd.DataFrame:
    """image_id, queue_rank (from 1), queue_reason of exactly min(size, candidates) images.

    `seen`: the features of the candidates, or of some; without any the list `atypical` is empty.
    """
    chosen = candidates(reviewed.rows)
    classes, wanted = reviewed.classes, settings.review.queue
    label_N = np.array([classes.index(name) for name in chosen["label"]], np.int64)
    opinions = [_against(key, classes, chosen, label_N) for key in (round_, rows.compared(round_, settings)) if key]
    known = evidence.Evidence(
        label_N=label_N,
        classes=len(classes),
        opinions=opinions,
        vote_N=_votes(chosen, label_N, len(classes), seen, wanted.neighbours),
        copies_N=_copies(chosen["image_id"].tolist(), label_N, classes),
        confidence_N=chosen["confidence"].to_numpy(np.float64),
        threshold_N=chosen["lineage.threshold"].astype(float).to_numpy(),
    )
    seed = int(files.digest([settings.seed, round_, reviewed.table])[:8], 16)
    lists = evidence.lists(known)
    queue = budget.mix(lists, wanted.weights(), len(chosen), size, wanted.random, seed)
    queued = chosen["image_id"].to_numpy()[queue.row_B]
    rank = np.arange(1, len(queued) + 1)
    return pd.DataFrame({"image_id": queued, "queue_rank": rank, "queue_reason": queue.reason_B})


def _against(round_: str, classes: list[str], chosen: pd.DataFrame, label_N: np.ndarray) -> np.ndarray:
    """How much a round's net speaks against the chosen labels, (N,), part by part; NaN where it was not asked."""
    place = pd.Series(np.arange(len(chosen)), index=chosen["image_id"])
    against_N = np.full(len(chosen), np.nan)
    for ids, prob_PC in rows.probabilities(round_, classes):
        at_P = place.reindex(ids).to_numpy()
        at_K = at_P[~np.isnan(at_P)].astype(np.int64)
        against_N[at_K] = doubt.against(prob_PC[~np.isnan(at_P)], label_N[at_K])
    return against_N


def _votes(chosen: pd.DataFrame, label_N: np.ndarray, classes: int, seen: Features | None, k: int) -> np.ndarray:
    """How much the neighbours of each image speak against its label, (N,); NaN where its features are not known."""
    vote_N = np.full(len(chosen), np.nan)
    if seen is None:
        return vote_N
    import torch

    from tasks.core.neighbours import against

    feature_ND = seen.of(chosen["image_id"].tolist())
    is_seen_N = ~np.isnan(feature_ND).any(axis=1)
    if is_seen_N.any():
        found = against(torch.from_numpy(feature_ND[is_seen_N]), torch.from_numpy(label_N[is_seen_N]), classes, k)
        vote_N[is_seen_N] = found.numpy()
    return vote_N


def _copies(ids: list[str], label_N: np.ndarray, classes: list[str]) -> np.ndarray:
    """Of the near copies of each image, labeled ones among them, the share with another label; NaN without copies."""
    path = files.SPLIT / "duplicates.parquet"
    group_of: dict[str, str] = {}
    if path.is_file():
        table = files.read_table(path, ["image_id", "group", "match"]).to_pydict()
        for image_id, group, match in zip(*table.values(), strict=True):
            group_of |= {image_id: group, match: group}
    tables = [files.read_table(files.SPLIT / f"{name}.parquet", ["image_id", "label"]) for name in ("labeled", "calib")]
    given = {i: label for i, label in zip(*pa.concat_tables(tables).to_pydict().values(), strict=True) if i in group_of}
    every = [*ids, *given]
    _, group_M = np.unique([group_of.get(image_id, image_id) for image_id in every], return_inverse=True)
    label_M = np.concatenate([label_N, np.array([classes.index(name) for name in given.values()], np.int64)])
    return doubt.copies_against(group_M, label_M)[: len(ids)]
