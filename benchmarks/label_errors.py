"""How many wrong labels `hold.max_label_error` stops: handwritten digits, some labels flipped, logistic regression.

    python benchmarks/label_errors.py [--draws 40] [--json FILE]

A teacher learns from the labels, of which a share is another class at random, the held-out ones too, and is asked about
labels it did not learn from: `split.calib`, or the labels themselves in five folds. A draw is stopped when the lower
95 % bound of the share that the confident joint contradicts is above the limit (tasks/hold.py).
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from tasks.core.alarms import by_chance, contradicted
from tasks.core.compare import exact_low

CLASSES, FOLDS, LIMITS, FLIPPED = 10, 5, (0.3, 0.4), (0.0, 0.2, 0.3, 0.4, 0.5)
SHAPES = ((50, 100), (100, 100), (200, 200), (50, 0), (100, 0), (400, 0))  # labels, and calib; 0 = in folds


def asked(image_ND: np.ndarray, given_N: np.ndarray, other_MD: np.ndarray) -> np.ndarray:
    """What a net that learnt from these images says of the others, (M, C); next to nothing of classes it never saw."""
    net = LogisticRegression(max_iter=300).fit(image_ND, given_N)
    prob_MC = np.full((len(other_MD), CLASSES), 1e-6)
    prob_MC[:, net.classes_] = net.predict_proba(other_MD)
    return prob_MC


def draw(images: np.ndarray, truth_N: np.ndarray, labels: int, calib: int, flipped: float, seed: int) -> Any:
    """The lower bound of wrong labels, and whether the teacher passes for chance."""
    rng = np.random.default_rng(seed)
    order_N = rng.permutation(len(truth_N))
    other_N = (truth_N + rng.integers(1, CLASSES, len(truth_N))) % CLASSES
    given_N = np.where(rng.random(len(truth_N)) < flipped, other_N, truth_N)
    taught = order_N[:labels]
    if calib:
        held = order_N[labels : labels + calib]
        prob_NC = asked(images[taught], given_N[taught], images[held])
    else:
        held, fold_N = taught, np.arange(labels) % FOLDS
        prob_NC = np.empty((labels, CLASSES))
        for fold in range(FOLDS):
            rest, ours = taught[fold_N != fold], taught[fold_N == fold]
            prob_NC[fold_N == fold] = asked(images[rest], given_N[rest], images[ours])
    wrong = int(contradicted(prob_NC, given_N[held]).sum())
    return exact_low(wrong, len(held)), by_chance(prob_NC.argmax(axis=1), given_N[held], CLASSES)[1] > 0.05


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of the solver, where classes cannot be told
    images, truth_N = load_digits(return_X_y=True)
    print("| labels, calib | flipped | mean bound | above 0.3 | above 0.4 |\n|---|---|---|---|---|")
    rows = []
    for labels, calib in SHAPES:
        for flipped in FLIPPED:
            found = [draw(images / 16, truth_N, labels, calib, flipped, seed) for seed in range(args.draws)]
            low = np.array([bound for bound, _ in found])
            stopped = {f"{limit:g}": float((low > limit).mean()) for limit in LIMITS}
            rows.append({"labels": labels, "calib": calib, "flipped": flipped, "low": float(low.mean()), **stopped})
            where = f"{labels}, {calib or 'folds'} | {flipped:.0%}"
            print(f"| {where} | {low.mean():.2f} | {stopped['0.3']:.0%} | {stopped['0.4']:.0%} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
