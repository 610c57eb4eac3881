"""Signs that labels must not be learnt from, each with the evidence for it. Letters: N held-out images, C classes.

Every rule speaks only where chance is ruled out: few labels and many classes are no alarm by themselves.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, xlogy

from tasks.core.compare import exact_low
from tasks.core.metrics import Floats, Ints

RISK = 0.05
FEWEST = 20  # held-out labels below which nothing is said about the teacher


def starved(kept_C: Ints, labeled_C: Ints) -> NDArray[np.bool_]:
    """Classes that have labels and got no pseudo-label, though their share of the labels makes that unlikely.

    (1 - q)^K < 0.05 / C, with K the kept pseudo-labels and q the one-sided 95 % lower bound of the class's share of
    the labels (Clopper and Pearson 1934): ten labels of fifty ask for fewer pseudo-labels than four of four hundred.
    """
    low_C = np.array([exact_low(int(n), int(labeled_C.sum())) for n in labeled_C])
    log_chance_C = kept_C.sum() * np.log1p(-np.minimum(low_C, 1 - 1e-12))
    found_C: NDArray[np.bool_] = (kept_C == 0) & (labeled_C > 0) & (log_chance_C < np.log(RISK / len(kept_C)))
    return found_C


def effective_classes(count_C: Ints) -> float:
    """exp(H) of the shares: C when all are equal, 1 when one has everything (Hill 1973, order 1); 0 of nothing."""
    if not count_C.sum():
        return 0.0
    share_C = count_C / count_C.sum()
    return float(np.exp(-xlogy(share_C, share_C).sum()))


def by_chance(label_N: Ints, given_N: Ints, classes: int) -> tuple[float, float]:
    """The share of agreement that shuffled answers would reach, and how likely they would agree as often as these do.

    One-sided binomial test; the chance level is that of the two sets of class shares (Cohen 1960).
    """
    answers_C, given_C = (np.bincount(one, minlength=classes) / len(given_N) for one in (label_N, given_N))
    level, hits = float(answers_C @ given_C), int((label_N == given_N).sum())
    return level, float(bdtrc(hits - 1, len(given_N), min(level, 1.0))) if hits else 1.0


def contradicted(prob_NC: Floats, given_N: Ints) -> NDArray[np.bool_]:
    """Labels that confident predictions by nets that did not learn from them contradict.

    The off-diagonal of the confident joint (Northcutt et al. 2021, eq. 1): the most probable of the classes j with
    p(j) at least the mean p(j) of the images labeled j is another one than the given.
    """
    classes = prob_NC.shape[1]
    there_C = np.bincount(given_N, minlength=classes) > 0
    level_C = np.array([prob_NC[given_N == c, c].mean() if there_C[c] else np.inf for c in range(classes)])
    sure_NC = np.where(prob_NC >= level_C, prob_NC, -1.0)
    found_N: NDArray[np.bool_] = (sure_NC.max(axis=1) >= 0) & (sure_NC.argmax(axis=1) != given_N)
    return found_N
