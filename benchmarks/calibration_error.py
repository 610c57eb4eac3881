"""How often the interval of the calibration error holds the true one: made-up nets of known temperature.

    python -m benchmarks.calibration_error [--draws 1000] [--quick] [--json FILE]

A net of ten classes says softmax(z) where softmax(z / T) is true; its true error in 15 equal-mass bins is computed on a
million images.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.promise import table
from tasks.core.calibration import ece_interval
from tasks.core.metrics import expected_calibration_error


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
    """How often the interval of the calibration error holds the true one; nets of known temperature and ten classes."""
    rows = []
    for temperature in (1.0, 1.2, 1.5, 2.5):
        everything = expected_calibration_error(*_made_up(1_000_000, temperature, 0))
        for n in (50, 100, 500, 2000):
            held, width = 0, 0.0
            for draw in range(draws):
                low, high = ece_interval(*_made_up(n, temperature, 1 + draw), seed=draw)
                held += low <= everything <= high
                width += (high - low) / draws
            rows.append(
                {"true T": temperature, "true ECE": round(everything, 4), "n": n, "draws": draws}
                | {"holds it": f"{held / draws:.1%}", "mean width": round(width, 3)}
            )
    return rows


def _made_up(n: int, temperature: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What an overconfident net says, and labels drawn from the truth: softmax(logits / temperature)."""
    rng = np.random.default_rng([seed, n])
    logit_NC = rng.normal(0, 1, (n, 10)).astype(np.float32)
    logit_NC[:, 0] += rng.exponential(4, n).astype(np.float32)
    true_NC = np.exp(logit_NC / temperature)
    true_NC /= true_NC.sum(axis=1, keepdims=True)
    said_NC = np.exp(logit_NC)
    truth_N = (rng.random((n, 1)) > true_NC.cumsum(axis=1)).sum(axis=1).clip(max=9)
    return said_NC / said_NC.sum(axis=1, keepdims=True), truth_N


if __name__ == "__main__":
    main()
