"""How often the interval of the calibration error holds the true one: made-up nets of known temperature.

    python -m benchmarks.calibration_error [--draws 1000] [--quick] [--json FILE]

Ten classes. "T 1.5": the net says softmax(z) where softmax(z / 1.5) is true; "a plateau" and "by class" are wrong in
ways that no temperature describes. The true error in 15 equal-mass bins is computed on a million images.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.promise import table
from tasks.core.calibration import ece_interval
from tasks.core.metrics import expected_calibration_error

Sample = tuple[np.ndarray, np.ndarray]


def main() -> None:
    """Draw, look, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="50 draws")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    args = parser.parse_args()
    rows = coverage(50 if args.quick else args.draws)
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def coverage(draws: int) -> list[dict[str, Any]]:
    """A row for each net and number of images; `too high` and `too low` are the two ways of missing."""
    rows = []
    for name, net in NETS.items():
        everything = expected_calibration_error(*net(1_000_000, np.random.default_rng(0)))
        for n in (50, 100, 500, 2000):
            ends = np.array([ece_interval(*net(n, np.random.default_rng([d, n])), seed=d) for d in range(draws)])
            high, low = float((ends[:, 0] > everything).mean()), float((ends[:, 1] < everything).mean())
            rows.append(
                {"net": name, "true ECE": round(everything, 4), "n": n, "draws": draws}
                | {"holds it": f"{1 - high - low:.1%}", "too high": f"{high:.1%}", "too low": f"{low:.1%}"}
                | {"mean width": round(float(np.diff(ends).mean()), 3)}
            )
            print(rows[-1], flush=True)
    return rows


def _too_sure(temperature: float, n: int, rng: np.random.Generator) -> Sample:
    """What a net says, and labels drawn from the truth: softmax(logits / temperature)."""
    logit_NC = rng.normal(0, 1, (n, 10)).astype(np.float32)
    logit_NC[:, 0] += rng.exponential(4, n).astype(np.float32)
    true_NC = np.exp(logit_NC / temperature)
    true_NC /= true_NC.sum(axis=1, keepdims=True)
    said_NC = np.exp(logit_NC)
    truth_N = (rng.random((n, 1)) > true_NC.cumsum(axis=1)).sum(axis=1).clip(max=9)
    return said_NC / said_NC.sum(axis=1, keepdims=True), truth_N


def _wrong_at(accuracy: Callable[[np.ndarray, np.ndarray], np.ndarray], n: int, rng: np.random.Generator) -> Sample:
    """Ten classes, a confidence from 0.1 to 1; right with the probability `accuracy` of confidence and class."""
    sure_N, said_N = 1 - 0.9 * rng.beta(0.6, 1.8, n), rng.integers(0, 10, n)
    right_N = rng.random(n) < accuracy(sure_N, said_N)
    prob_NC = np.repeat(((1 - sure_N) / 9)[:, None], 10, axis=1)
    prob_NC[np.arange(n), said_N] = sure_N
    return prob_NC, np.where(right_N, said_N, (said_N + 1) % 10)


def _step(sure_N: np.ndarray, said_N: np.ndarray) -> np.ndarray:
    """Right as often as said, but for a plateau: no logistic curve."""
    return np.where((sure_N > 0.7) & (sure_N < 0.95), 0.55, sure_N)


def _classes(sure_N: np.ndarray, said_N: np.ndarray) -> np.ndarray:
    """Every class too sure by an amount of its own."""
    return np.clip(sure_N - 0.03 * said_N, 0.02, 1)


NETS: dict[str, Callable[[int, np.random.Generator], Sample]] = {
    "T 1": partial(_too_sure, 1.0),
    "T 1.2": partial(_too_sure, 1.2),
    "T 1.5": partial(_too_sure, 1.5),
    "T 2.5": partial(_too_sure, 2.5),
    "a plateau": partial(_wrong_at, _step),
    "by class": partial(_wrong_at, _classes),
}


if __name__ == "__main__":
    main()
