"""How many wrong labels a review queue holds, beside a random one of the same size.

    python benchmarks/review_queue.py [--cifar FOLDER] [--seeds 0 1 2] [--budget 200] [--quick] [--json FILE]

10 % of the labels of a pool are changed, in two ways: `even`, to any other class; `confusable`, to the one class that
the teacher mistakes the true one for most often. Three settings, from easy to hard:

- given     the labels are the true ones but for the changed; the net (a teacher of 50 digits or 4,000 CIFAR-10 images)
            never saw them. What one gets when labels come from elsewhere.
- learnt    the same labels, but the only net there is was trained on them, the wrong ones included.
- pipeline  wrong labels among confident pseudo-labels: the labels are a teacher's that passed the threshold, its own
            mistakes included, and 10 % of them are changed together with what the teacher said: it backs each wrong
            label as firmly as it backed the right one. The student learnt from all of it. Only it can tell.

Errors are all labels that are not the true ones; in `pipeline` those are the changed and the teacher's own. Random is
the mean over all possible random queues: budget times the share of errors. The slice is the queue's random part: how
often the exact 95 % interval of its share of errors holds the share of all labels.

Splits are those of benchmarks/digits.py; of CIFAR-10 a seed draws 4,000 labels, 1,000 held out and a pool of 40,000,
and the threshold of `pipeline` is the lowest confidence from which on 90 % of the held-out labels are right. Nets are
the settings' own; for CIFAR-10 all have half the teacher's width and 400 steps, or --steps. What the nets say
is kept under .work/review_queue, so that a killed run goes on. Near copies are not looked for: that list is empty here.
Only `pipeline` has a threshold, so the others have no list of that name.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.digits import CLASSES
from benchmarks.wrong_labels import CIFAR, DIGITS, ROOT, SETTINGS, WAYS, Array, Case, case
from tasks import params
from tasks.core import budget, evidence
from tasks.core.audit import clopper_pearson
from tasks.params_review import Queue

DRAWS = 200  # queues of each case: the slice differs


def main() -> None:
    """Make what is missing, queue, count, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cifar", type=Path, help="a folder with train.parquet")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--steps", type=int, help="of every net, instead of the settings' (CIFAR-10: 400)")
    parser.add_argument("--settings", nargs="+", default=SETTINGS, choices=SETTINGS)
    parser.add_argument("--only", default="", help="the data set whose name begins so")
    parser.add_argument("--quick", action="store_true", help="digits, the first seed")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    sets = [DIGITS] + ([CIFAR] if args.cifar and not args.quick else [])
    seeds = args.seeds[:1] if args.quick else args.seeds
    rows = []
    weights = params.load(ROOT / "params.yaml").review.queue
    for name in [name for name in sets if name.startswith(args.only)]:
        found: dict[tuple[str, str], list[dict[str, float]]] = {}
        for seed in seeds:
            for setting in args.settings:
                for way in WAYS:
                    one = case(name, setting, way, seed, args.cifar, args.steps)
                    found.setdefault((setting, way), []).append(count(one, weights, args.budget, seed))
        rows += [
            row for (setting, way), counts in found.items() for row in summary(f"{name}, {setting}, {way}", counts)
        ]
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def count(found: Case, weights: Queue, size: int, seed: int) -> dict[str, float]:
    """Share of wrong labels of a queue and of all labels; of those that were changed; what the slice says."""
    N = len(found.label_N)
    opinions = [known_N for known_N in (found.first_N, found.second_N) if not np.isnan(known_N).all()]
    lists = evidence.lists(
        evidence.Evidence(
            label_N=found.label_N,
            classes=CLASSES,
            opinions=opinions,
            vote_N=found.vote_N,
            copies_N=np.full(N, np.nan),
            confidence_N=found.confidence_N,
            threshold_N=np.full(N, found.threshold),
        )
    )
    weight = weights.weights() | ({"threshold": 0.0} if np.isnan(found.threshold) else {})
    wrong_N, total = (
        found.label_N != found.truth_N,
        dict.fromkeys(("wrong", "changed", "slice", "covered", "wide"), 0.0),
    )
    for draw in range(DRAWS):
        queue = budget.mix(lists, weight, N, size, weights.random, 1000 * seed + draw)
        drawn = wrong_N[queue.row_B[np.array([reason == budget.RANDOM for reason in queue.reason_B])]]
        low, high = clopper_pearson(int(drawn.sum()), len(drawn))
        total["wrong"] += float(wrong_N[queue.row_B].mean()) / DRAWS
        total["changed"] += float(found.changed_N[queue.row_B].mean()) / DRAWS
        total["slice"] += float(drawn.mean()) / DRAWS
        total["covered"] += float(low <= wrong_N.mean() <= high) / DRAWS
        total["wide"] += (high - low) / DRAWS
    total |= {"wrong_all": float(wrong_N.mean()), "changed_all": float(found.changed_N.mean()), "labels": N}
    return total | {f"first {name}": float(wrong_N[rows[:100]].mean()) for name, rows in lists.items() if len(rows)}


def summary(name: str, found: list[dict[str, float]]) -> list[dict[str, Any]]:
    """Two rows: all wrong labels, and those that were changed."""
    rows = []
    for kind in ("wrong", "changed"):
        share = np.array([one[kind] for one in found])
        ratio = share / np.array([one[f"{kind}_all"] for one in found])
        row = {"name": name, "metric": f"{kind}_in_queue", "value": float(share.mean()), "std": _std(share)}
        row |= {"n": len(found), "unit": "share", "against": "random", "ratio": float(ratio.mean())}
        row |= {"ratio_std": _std(ratio), "least_ratio": float(ratio.min())}
        row |= {"random": _mean(found, f"{kind}_all"), "labels": _mean(found, "labels")}
        row |= {key: _mean(found, key) for key in ("slice", "covered", "wide")}
        lists = sorted(set.intersection(*({key for key in one if key.startswith("first ")} for one in found)))
        rows.append(row | {"first_100": {key.removeprefix("first "): round(_mean(found, key), 3) for key in lists}})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    head = "| set, setting, way | labels | errors counted | in the queue | random | ratio (least) | slice, coverage |"
    lines = [head, "|" + "---|" * 7]
    for row in rows:
        kind = "all" if row["metric"] == "wrong_in_queue" else "changed ones alone"
        where = f"{row['value']:.1%} ± {row['std']:.1%} | {row['random']:.1%}"
        ratio = f"{row['ratio']:.1f} ± {row['ratio_std']:.1f} ({row['least_ratio']:.1f})"
        drawn = f"{row['slice']:.1%}, {row['covered']:.1%}" if row["metric"] == "wrong_in_queue" else ""
        lines.append(f"| {row['name']} | {row['labels']:,.0f} | {kind} | {where} | {ratio} | {drawn} |")
    lines += [f"{row['name']}: wrong among the first 100 of a list: {row['first_100']}" for row in rows[::2]]
    return "\n".join(lines)


def _mean(found: list[dict[str, float]], key: str) -> float:
    return float(np.mean([one[key] for one in found]))


def _std(values: Array) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
