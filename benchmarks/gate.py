"""The gate's rules on nets that are made up: false alarms, what is seen, and where chains of students end.

    python benchmarks/gate.py [--draws 4000] [--chains 400] [--quick] [--json FILE]

No net is trained: what decides is which images each of two nets gets right. Their errors are correlated as those of a
teacher and its student are, by a difficulty that both nets see in an image: a net is right where sqrt(rho) z +
sqrt(1 - rho) e < Phi^-1(accuracy), z of the image, e of net and image, both standard normal.

`recall`: gates of equal, better and worse students, with ten equal or skewed classes. `chains`: six rounds of students
that differ from their champion by a normal step, judged on the same gate images throughout, under each way to treat
what cannot be told; two holds in a row end a chain.
"""

import argparse
import json
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from tasks.core.compare import holm, mcnemar_fall, paired_interval
from tasks.core.gate import FALL_RISK, LEVEL, Recall

CLASSES, ROUNDS, MAX_HOLDS = 10, 6, 2
SIZES, ACCURACIES, CORRELATIONS = (100, 400, 1000, 4000), (0.7, 0.8, 0.9, 0.97), (0.0, 0.5, 0.9)
MARGIN, RECALL = 0.005, 0.05  # as in params.yaml
STEPS, STEP_SD = (-0.02, -0.01, -0.005, 0.0, 0.005), 0.01
POLICIES = ("promote, no anchor", "promote", "hold")
Row = dict[str, Any]
interval = cache(paired_interval)


def shares(shape: str) -> np.ndarray:
    """Of the classes: equal, or each 0.7 of the one before (25 to 1)."""
    share_C = np.ones(CLASSES) if shape == "equal" else 0.7 ** np.arange(CLASSES)
    return np.asarray(share_C / share_C.sum())


def gates(rng: np.random.Generator, size_C: np.ndarray, old_C: np.ndarray, new_C: np.ndarray, rho: float) -> Any:
    """Endless gates: of each class, how many images both nets get right, only the new one, only the old one (C, 3)."""
    cells = []
    for old, new in zip(old_C, new_C, strict=True):
        both = float(multivariate_normal.cdf(ndtri([old, new]), cov=[[1, rho], [rho, 1]]))
        cells.append([both, max(new - both, 0), max(old - both, 0), max(1 - old - new + both, 0)])
    while True:
        yield np.array([rng.multinomial(n, np.array(p) / sum(p))[:3] for n, p in zip(size_C, cells, strict=True)])


def fallen(table_C3: np.ndarray, size_C: np.ndarray, correct: bool = True) -> list[bool]:
    """The gate's rule, class by class; without `correct` as if each class were the only one."""
    p_C = [mcnemar_fall(int(gained), int(lost)) for _, gained, lost in table_C3]
    adjusted_C = holm(p_C) if correct else p_C
    rows = zip(size_C, table_C3, p_C, adjusted_C, strict=True)
    return [Recall(0, int(n), int(t[1]), int(t[2]), p, a, a < FALL_RISK).fell_by_more(RECALL) for n, t, p, a in rows]


def recall(n: int, shape: str, accuracy: float, rho: float, draws: int, seed: int) -> Row:
    """False alarms of the rule, and how often a class that lost 20 or 40 points is seen, for one setting."""
    size_C = np.maximum(np.round(n * shares(shape)), 1).astype(int)
    old_C = np.full(CLASSES, accuracy)
    row: Row = {"n": n, "shape": shape, "accuracy": accuracy, "rho": rho, "draws": draws}

    def rate(new_C: np.ndarray, what: Any) -> float:
        found = gates(np.random.default_rng(seed), size_C, old_C, new_C, rho)
        return float(np.mean([what(next(found)) for _ in range(draws)]))

    row["equal"] = rate(old_C, lambda t: any(fallen(t, size_C)))
    row["equal, each class by itself"] = rate(old_C, lambda t: any(fallen(t, size_C, correct=False)))
    row["better"] = rate(old_C + (1 - old_C) * 0.2, lambda t: any(fallen(t, size_C)))
    row["called worse"] = rate(old_C, lambda t: _worse(*t.sum(axis=0), int(size_C.sum())))
    for points in (20, 40):
        new_C = old_C + 0.0
        new_C[CLASSES // 2] -= points / 100
        row[f"lost {points}"] = rate(new_C, lambda t: fallen(t, size_C)[CLASSES // 2])
    return row


def _worse(both: int, gained: int, lost: int, n: int) -> bool:
    low, high = interval(int(both), int(gained), int(lost), n, 2 * LEVEL - 1)
    return low <= -MARGIN and high < 0


def chain(n: int, step: float, policy: str, seed: int, start: float = 0.9, rho: float = 0.6) -> tuple[float, int]:
    """Where the champion's true accuracy ends against its start, and how many equal or better students were held."""
    rng = np.random.default_rng(seed)
    z_N = rng.standard_normal(n)

    def right(accuracy: float) -> np.ndarray:
        return np.asarray(np.sqrt(rho) * z_N + np.sqrt(1 - rho) * rng.standard_normal(n) < ndtri(accuracy))

    champion, wronged, holds = start, 0, 0
    champion_N = anchor_N = right(start)
    for _ in range(ROUNDS):
        student = float(np.clip(champion + rng.normal(step, STEP_SD), 0.05, 0.995))
        student_N = right(student)
        low = interval(*_table(student_N, champion_N), n, 2 * LEVEL - 1)[0]
        is_held = _worse(*_table(student_N, champion_N), n) or (policy == "hold" and low <= -MARGIN)
        if policy == "promote":
            is_held |= _worse(*_table(student_N, anchor_N), n)
        wronged += is_held and student >= champion
        holds = holds + 1 if is_held else 0
        if holds == MAX_HOLDS:
            break
        if not is_held:
            champion, champion_N = student, student_N
            anchor_N = student_N if low > -MARGIN else anchor_N
    return champion - start, wronged


def _table(new_N: np.ndarray, old_N: np.ndarray) -> tuple[int, int, int]:
    return int((new_N & old_N).sum()), int((new_N & ~old_N).sum()), int((~new_N & old_N).sum())


def chains(n: int, step: float, policy: str, count: int) -> Row:
    """Many chains: mean and 5 % quantile of the change in points, the share that lost over 2, students held wrongly."""
    change_K, wronged_K = np.array([chain(n, step, policy, seed) for seed in range(count)]).T
    return {
        "n": n,
        "step": 100 * step,
        "policy": policy,
        "mean": 100 * float(change_K.mean()),
        "low": 100 * float(np.quantile(change_K, 0.05)),
        "lost over 2": float((change_K < -0.02).mean()),
        "wronged": float(wronged_K.mean()),
    }


def of_recall(draws: int) -> Iterator[Row]:
    """Every setting, printed by size and shape: the worst false alarm, and the least and greatest power."""
    print("| gate | classes | equal | better | each class by itself | called worse | 20 points lost | 40 points lost |")
    print("|---|---|---|---|---|---|---|---|")
    for n, shape in product(SIZES, ("equal", "skewed")):
        rows = [recall(n, shape, *it, draws, seed=0) for it in product(ACCURACIES, CORRELATIONS)]
        most = {name: max(r[name] for r in rows) for name in ("equal", "better", "called worse")}
        alone = max(r["equal, each class by itself"] for r in rows)
        power = [
            f"{min(r[name] for r in rows):.2f} to {max(r[name] for r in rows):.2f}" for name in ("lost 20", "lost 40")
        ]
        print(
            f"| {n} | {shape} | {most['equal']:.3f} | {most['better']:.3f} | {alone:.2f} | {most['called worse']:.3f} "
            f"| {power[0]} | {power[1]} |",
            flush=True,
        )
        yield from rows


def of_chains(count: int) -> Iterator[Row]:
    """Every size, step and policy, a row each."""
    print("\n| gate | step | unsure | change in points | worst 5 % | lost over 2 | better students held a chain |")
    print("|---|---|---|---|---|---|---|")
    for n, step, policy in product((100, 400, 1000), STEPS, POLICIES):
        row = chains(n, step, policy, count)
        ends = f"{row['mean']:+.1f} | {row['low']:+.1f} | {row['lost over 2']:.0%} | {row['wronged']:.2f}"
        print(f"| {n} | {row['step']:+.1f} | {policy} | {ends} |", flush=True)
        yield row


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000, help="Gates of a setting.")
    parser.add_argument("--chains", type=int, default=400, help="Chains of a setting.")
    parser.add_argument("--quick", action="store_true", help="A tenth of both.")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    part = 10 if args.quick else 1
    rows = [*of_recall(args.draws // part), *of_chains(args.chains // part)]
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
