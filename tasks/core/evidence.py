"""The lists a review queue is mixed from, each with one reason to look at an image again. N images.

| list | who is in it | first |
|---|---|---|
| disagreement | a net of some round names another class than the label | most evidence against the label |
| atypical | its neighbours in the net's feature space carry other labels | the most one-sided vote |
| copies | a near copy of it carries another label | those outnumbered among their copies |
| rare_class | its class has less than half of an even share | most evidence against the label |
| threshold | everyone | confidence closest to what the class asks for |
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from tasks.core import doubt
from tasks.core.doubt import Floats, Rows


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of N given labels. NaN where something is not known of an image."""

    label_N: Rows
    classes: int
    opinions: list[Floats]  # how much each net that was asked speaks against the label, (N,): doubt.against
    vote_N: Floats  # how much the labels of its nearest neighbours do: neighbours.against
    copies_N: Floats  # of its near copies, the share with another label
    confidence_N: Floats
    threshold_N: Floats  # what the label's class asks for


def lists(e: Evidence) -> dict[str, NDArray[np.int64]]:
    """Row numbers by reason, the first to look at first; `threshold` has every row, the others their members alone."""
    vote_N, doubt_N = e.vote_N, doubt.together([*e.opinions, e.vote_N])
    named_N = reduce(np.logical_or, [margin_N > 0 for margin_N in e.opinions], np.zeros(len(e.label_N), bool))
    is_rare_N = doubt.rare(e.label_N, e.classes)
    near_N = -np.abs(e.confidence_N - e.threshold_N)
    return {
        "disagreement": doubt.strongest(doubt_N, vote_N, named_N),
        "atypical": doubt.strongest(vote_N, doubt_N, vote_N > 0),
        "copies": doubt.strongest(e.copies_N, doubt_N, e.copies_N > 0),
        "rare_class": doubt.strongest(doubt_N, near_N, is_rare_N),
        "threshold": doubt.strongest(near_N, doubt_N, np.ones(len(e.label_N), bool)),
    }
