"""Are promises kept: target_precision and the interval of the calibration error, where the truth is known.

    python benchmarks/promise.py [--cifar FOLDER] [--draws 200] [--quick] [--json FILE]

A teacher (benchmarks/known.py) is asked about images it never saw: handwritten digits, and with --cifar (a folder with
train.parquet) CIFAR-10 (JPEG). Each draw holds out some of them at random, 25 to 500 a class, and takes the rest for
the pool. The functions of stage `curate` calibrate, set the thresholds and accept; then the truth of the pool is looked
at.

A promise is kept when at least the target's share of the accepted labels is right: of all of them together, and of each
class that was promised. `broken` must not exceed 5 % of those made. For the calibration error the truth is made up: a
net of known bias, whose error in 15 equal-mass bins is computed on a million images.
"""

import argparse
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import known
from tasks import accept
from tasks.core import curation
from tasks.core.belief import Reading
from tasks.core.calibration import ece_interval, fit
from tasks.core.metrics import expected_calibration_error
from tasks.core.promise import NEVER
from tasks.params import Curate, load
from tasks.progress import Progress

PER_CLASS = (25, 50, 100, 200, 500)
TARGETS = (0.8, 0.9, 0.95)
VARIANTS = ("none", "temperature", "per_class")
ASKED = 20_000


@dataclass(slots=True)
class Tally:
    """Counts over draws."""

    draws: int = 0
    made: int = 0  # draws in which anything was promised
    broken: int = 0  # of these, the accepted set was below the target
    class_draws: int = 0
    class_made: int = 0
    class_broken: int = 0
    kept: list[float] = field(default_factory=list)  # share of the pool accepted, of the draws with a promise
    precision: list[float] = field(default_factory=list)


def main() -> None:
    """Draw, accept, look, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cifar", type=Path, help="a folder with train.parquet")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="20 draws")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    args = parser.parse_args()
    draws = 20 if args.quick else args.draws
    sets = {"digits": known.digits(0)}
    if args.cifar:
        sets["CIFAR-10 (JPEG)"] = known.cifar(args.cifar, 0, ASKED)
    rows = [row for name, found in sets.items() for row in promises(name, *found, draws)]
    print(table(rows))
    intervals = coverage(max(draws, 20))
    print(table(intervals))
    if args.json:
        args.json.write_text(json.dumps(rows + intervals, indent=1) + "\n", encoding="utf-8")


def promises(name: str, prob_NC: np.ndarray, truth_N: np.ndarray, draws: int) -> list[dict[str, Any]]:
    """A row for each variant of calibration, size of the held-out set and target."""
    right = (prob_NC.argmax(axis=1) == truth_N).mean()
    print(f"{name}: {len(truth_N):,} images that the teacher never saw, {right:.1%} right", flush=True)
    sizes = [n for n in PER_CLASS if n * known.CLASSES <= 0.6 * len(truth_N)]
    tallies: dict[tuple[str, int, float], Tally] = {}
    with Progress(len(sizes) * draws, name, "draws") as progress:
        for size in sizes:
            for draw in range(draws):
                order_N = np.random.default_rng([draw, size]).permutation(len(truth_N))
                held_N, pool_N = np.split(order_N, [size * known.CLASSES])
                fitted = fit(prob_NC[held_N], truth_N[held_N])
                for variant in VARIANTS:
                    found = fitted[variant]
                    reading = Reading(found.temperature, np.exp(found.bias_C) if found.bias_C.any() else None)
                    answers = ((prob_NC[rows], truth_N[rows]) for rows in (held_N, pool_N))
                    sides = [accept.Judged.made(*side, reading, fitted["temperature"]) for side in answers]
                    for target in TARGETS:
                        accept_and_look(*sides, target, tallies.setdefault((variant, size, target), Tally()))
                progress.advance(1)
    return [_row(name, key, tally) for key, tally in sorted(tallies.items(), key=_order)]


def accept_and_look(held: accept.Judged, found: accept.Judged, target: float, tally: Tally) -> None:
    """One draw: thresholds from the held-out images, then the truth of what they accept of the pool."""
    settings = _settings().model_copy(update={"target_precision": target})
    names = [str(c) for c in range(known.CLASSES)]
    threshold_C = accept.ask(settings, held, names, "promise").threshold
    assert isinstance(threshold_C, np.ndarray)
    accepted_N = curation.confidence(found.key_K) >= threshold_C[found.label_K]
    right_N = found.label_K == found.truth_K
    tally.draws += 1
    tally.class_draws += known.CLASSES
    tally.class_made += int((threshold_C < NEVER).sum())
    for c in np.unique(found.label_K[accepted_N]):
        tally.class_broken += bool(right_N[accepted_N & (found.label_K == c)].mean() < target)
    if (threshold_C < NEVER).any():
        tally.made += 1
        tally.broken += bool(accepted_N.any() and right_N[accepted_N].mean() < target)
        tally.kept.append(float(accepted_N.mean()))
        tally.precision.append(float(right_N[accepted_N].mean()) if accepted_N.any() else 1.0)


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


@cache
def _settings() -> Curate:
    return load(known.ROOT / "params.yaml").rounds["r1"].curate


def _order(item: tuple[tuple[str, int, float], Tally]) -> tuple[int, float, int]:
    variant, size, target = item[0]
    return VARIANTS.index(variant), target, size


def _row(name: str, key: tuple[str, int, float], tally: Tally) -> dict[str, Any]:
    variant, size, target = key
    kept, precision = (np.mean(values) if values else float("nan") for values in (tally.kept, tally.precision))
    return {
        "data": name,
        "calibration": variant,
        "target": target,
        "held out a class": size,
        "draws": tally.draws,
        "promised": f"{tally.made / tally.draws:.1%}",
        "broken": _share(tally.broken, tally.made),
        "classes promised": f"{tally.class_made / tally.class_draws:.1%}",
        "classes broken": _share(tally.class_broken, tally.class_made),
        "kept": "-" if np.isnan(kept) else f"{kept:.1%}",
        "right": "-" if np.isnan(precision) else f"{precision:.1%}",
    }


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%} ({part}/{whole})" if whole else "-"


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    frame = pd.DataFrame(rows)
    lines = [" | ".join(frame.columns), " | ".join("---" for _ in frame.columns)]
    lines += [" | ".join(map(str, row)) for row in frame.itertuples(index=False)]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


if __name__ == "__main__":
    main()
