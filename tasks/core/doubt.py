"""How much speaks against a given label: one number an image for each kind of evidence, higher = look here first.

N images, C classes. An opinion is what a net, or the neighbours of an image, say of its class. NaN = nothing is known.

Sources: the margin of a label is the "normalized margin" of confident learning (Northcutt, Jiang, Chuang 2021, JAIR
70; cleanlab's label quality scores); the vote of neighbours in a net's feature space as evidence against
a label is that of deep k-NN (Bahri, Jiang, Gupta 2020, "Deep k-NN for Noisy Labels").
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Rows = NDArray[np.int64]


def against(opinion_NC: Floats, label_N: Rows) -> Floats:
    """The largest probability (or share of votes) of another class minus that of the given label, (N,), from -1 to 1.

    Above 0 the opinion names another class. NaN where the opinion has none.
    """
    at = np.arange(len(label_N))
    others_NC = np.array(opinion_NC, dtype=np.float64)
    own_N = others_NC[at, label_N].copy()
    others_NC[at, label_N] = -np.inf
    if others_NC.shape[1] == 1:
        return -own_N
    found_N: Floats = others_NC.max(axis=1) - own_N
    return found_N


def copies_against(group_N: Rows, label_N: Rows) -> Floats:
    """Of the other images of its group of near copies, the share with another label, (N,); NaN where it has no copy.

    `group_N`: a number for each group; each image without copies is a group of its own.
    """
    _, group_N = np.unique(group_N, return_inverse=True)
    size_N = np.bincount(group_N)[group_N]
    pair, member_N = np.unique(np.stack([group_N, label_N]), axis=1, return_inverse=True)
    alike_N = np.bincount(member_N.ravel(), minlength=pair.shape[1])[member_N.ravel()]
    with np.errstate(invalid="ignore"):
        share_N: Floats = (size_N - alike_N) / (size_N - 1)
    return share_N


def rare(label_N: Rows, classes: int) -> NDArray[np.bool_]:
    """Whether an image's class has less than half of an even share of the images, (N,)."""
    count_C = np.bincount(label_N, minlength=classes)
    is_rare_N: NDArray[np.bool_] = (2 * classes * count_C < len(label_N))[label_N]
    return is_rare_N


def together(scores: list[Floats]) -> Floats:
    """The mean of what is known of each image, (N,); NaN where nothing is."""
    stacked = np.stack(scores)
    known_N = (~np.isnan(stacked)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean_N: Floats = np.nansum(stacked, axis=0) / np.where(known_N, known_N, np.nan)
    return mean_N


def strongest(score_N: Floats, tie_N: Floats, member_N: NDArray[np.bool_]) -> Rows:
    """Row numbers of the members, the highest score first; then the highest `tie_N`, then the smallest row.

    NaN comes last.
    """
    rows = np.flatnonzero(member_N)
    keys = [-np.nan_to_num(values[rows], nan=-np.inf) for values in (tie_N, score_N)]
    order: Rows = rows[np.lexsort(keys)]
    return order
