"""Are promises kept: target_precision where the truth is known, on the data it was made with and on others.

    python -m benchmarks.promise [--cifar FOLDER] [--draws 200] [--quick] [--variants temperature] [--json FILE]

A teacher (benchmarks/known.py) is asked about images it never saw. Each draw holds out some of them at random, 25 to
500 for each class, and takes the rest for the pool. The functions of stage `curate` calibrate, set the thresholds and
accept; then the truth of the pool is looked at. A promise is kept when at least the target's share of the accepted
labels is right: of all of them together, and of each class that was promised. `broken` must not exceed 5 % of those
made. Where promises are rare more is drawn, until 200 draws had one or 2,000 were made, so that a row can be told from
5 %: p is the chance of as many broken ones if it were 5 %.

FRESH lists what the rule was not chosen on: other teachers, other numbers of labels, other tasks, made-up nets at the
edge of the target. A data set with one size is the unit of work and lies in .work/benchmarks/promise afterwards.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import bdtrc

from benchmarks import known
from tasks import accept, files
from tasks.core import curation
from tasks.core.belief import Reading
from tasks.core.calibration import Calibration, fit, fit_temperature
from tasks.core.promise import NEVER
from tasks.params import Curate, load
from tasks.progress import Progress

FOLDER = files.WORK / "benchmarks" / "promise"
PER_CLASS = (25, 50, 100, 200, 500)
TARGETS = (0.8, 0.9, 0.95)
VARIANTS = ("none", "temperature", "per_class")
ASKED, MOST = 20_000, 10  # images of CIFAR-10; times --draws where promises are rare
ANIMALS, VEHICLES = [2, 3, 4, 5, 6, 7], [0, 1, 8, 9]


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts and sums over draws; they add up."""

    draws: int = 0
    made: int = 0  # draws in which anything was promised
    broken: int = 0  # of these, the accepted set was below the target
    classes: int = 0
    class_made: int = 0
    class_broken: int = 0
    kept: float = 0.0  # share of the pool accepted, of the draws with a promise
    precision: float = 0.0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


def main() -> None:
    """Draw, accept, look, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cifar", type=Path, help="a folder with train.parquet")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="20 draws")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["temperature"])
    parser.add_argument("--only", help="data sets whose name holds this")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    args = parser.parse_args()
    sets = {name: read for name, read in data_sets(args.cifar).items() if (args.only or "") in name}
    rows = []
    for name, read in sets.items():
        rows += promises(name, read, 20 if args.quick else args.draws, tuple(args.variants))
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def data_sets(cifar: Path | None) -> dict[str, Callable[[], known.Known]]:
    """By name, how their answers are had."""
    found: dict[str, Callable[[], known.Known]] = {
        "digits": lambda: known.digits(0),
        "fresh: digits, teacher of 30": lambda: known.digits(11, 30),
        "fresh: digits, teacher of 100": lambda: known.digits(12, 100),
        "fresh: digits, odd or even": lambda: known.merged(known.digits(11, 30), [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]),
        "fresh: digits, 1 4 7 9": lambda: known.some(known.digits(11, 30), [1, 4, 7, 9]),
    }
    if cifar is not None:
        found |= {
            "CIFAR-10 (JPEG)": lambda: known.cifar(cifar, 0, ASKED),
            "fresh: CIFAR-10, animal or vehicle": lambda: known.merged(
                known.cifar(cifar, 0, ASKED), [ANIMALS, VEHICLES]
            ),
            "fresh: CIFAR-10, vehicles": lambda: known.some(known.cifar(cifar, 0, ASKED), VEHICLES),
            "fresh: CIFAR-10, a teacher of 400 steps": lambda: known.cifar(cifar, 1, ASKED, 400),
        }
    return found | {f"fresh: made up {n}": lambda n=n: known.made_up(n) for n in range(4)}  # type: ignore[misc]


def promises(name: str, read: Callable[[], known.Known], draws: int, variants: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row for each variant of calibration, size of the held-out set and target."""
    prob_NC, truth_N = read()
    classes, right = prob_NC.shape[1], (prob_NC.argmax(axis=1) == truth_N).mean()
    print(f"{name}: {len(truth_N):,} images that the teacher never saw, {right:.1%} right", flush=True)
    rows = []
    for size in (n for n in PER_CLASS if n * classes <= 0.6 * len(truth_N)):
        code = [files.sha256_file(Path(module)) for module in (__file__, known.__file__, accept.__file__)]
        code.append(files.sha256_file(known.ROOT / "tasks/core/promise.py"))
        path = FOLDER / f"{files.digest([name, size, draws, variants, *code])[:16]}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            found = drawn(name, prob_NC, truth_N, size, draws, variants)
            files.replace_json(path, [[*cell, asdict(tally)] for cell, tally in found.items()])
        stored = files.read_json(path)
        rows += [_row(name, variant, size, target, Tally(**tally)) for variant, target, tally in stored]
    return sorted(rows, key=lambda row: (VARIANTS.index(row["calibration"]), row["target"]))


def drawn(
    name: str, prob_NC: np.ndarray, truth_N: np.ndarray, size: int, draws: int, variants: tuple[str, ...]
) -> dict[tuple[str, float], Tally]:
    """Draws of one size; beyond `draws` only for what promises now and then."""
    tallies = {(variant, target): Tally() for variant in variants for target in TARGETS}
    with Progress(draws, f"{name}, {size}", "draws") as progress:
        for draw in range(MOST * draws):
            if draw >= draws:
                rare = [cell for cell, tally in tallies.items() if 0 < tally.made < draws]
            wanted = list(tallies) if draw < draws else rare
            if not wanted:
                break
            order_N = np.random.default_rng([draw, size]).permutation(len(truth_N))
            sides = np.split(order_N, [size * prob_NC.shape[1]])
            for variant in dict.fromkeys(variant for variant, _ in wanted):
                read = [(prob_NC[rows], truth_N[rows]) for rows in sides]
                held, pool = judged(variant, *read)
                for cell in (cell for cell in wanted if cell[0] == variant):
                    tallies[cell] += accept_and_look(held, pool, cell[1], prob_NC.shape[1])
            progress.advance(1 if draw < draws else 0)
    return tallies


def judged(variant: str, held: known.Known, pool: known.Known) -> list[accept.Judged]:
    """Held-out images and pool as the policies see them, calibrated by the held-out ones."""
    classes = held[0].shape[1]
    temperature = Calibration(fit_temperature(*held), np.zeros(classes))
    found = fit(*held)[variant] if variant == "per_class" else temperature
    found = Calibration.none(classes) if variant == "none" else found
    reading = Reading(found.temperature, np.exp(found.bias_C) if found.bias_C.any() else None)
    label_N, key_N = curation.choose(reading.soft(pool[0]), np.full(len(pool[1]), curation.NO_DECISION))
    unseen = accept.Judged(label_N, key_N, np.empty(0, np.float32), pool[1])  # what a promise is made by is held out
    return [accept.Judged.made(*held, reading, temperature), unseen]


def accept_and_look(held: accept.Judged, found: accept.Judged, target: float, classes: int) -> Tally:
    """One draw: thresholds from the held-out images, then the truth of what they accept of the pool."""
    settings = _settings().model_copy(update={"target_precision": target})
    threshold_C = accept.ask(settings, held, [str(c) for c in range(classes)], "promise").threshold
    assert isinstance(threshold_C, np.ndarray)
    accepted_N = curation.confidence(found.key_K) >= threshold_C[found.label_K]
    right_N, label_N = (found.label_K == found.truth_K)[accepted_N], found.label_K[accepted_N]
    promised_C = threshold_C < NEVER
    broken = sum(bool(right_N[label_N == c].mean() < target) for c in np.unique(label_N))
    tally = Tally(1, classes=classes, class_made=int(promised_C.sum()), class_broken=broken)
    if not promised_C.any():
        return tally
    precision = float(right_N.mean()) if len(right_N) else 1.0
    return replace(tally, made=1, broken=int(precision < target), kept=float(accepted_N.mean()), precision=precision)


@cache
def _settings() -> Curate:
    return load(known.ROOT / "params.yaml").rounds["r1"].curate


def _row(name: str, variant: str, size: int, target: float, tally: Tally) -> dict[str, Any]:
    made = max(tally.made, 1)
    p = float(bdtrc(tally.broken - 1, tally.made, 0.05)) if tally.broken else 1.0
    return {
        "data": name,
        "calibration": variant,
        "target": target,
        "held out a class": size,
        "draws": tally.draws,
        "promised": f"{tally.made / tally.draws:.1%}",
        "broken": _share(tally.broken, tally.made),
        "p": f"{p:.2f}" if tally.made else "-",
        "classes promised": f"{tally.class_made / tally.classes:.1%}",
        "classes broken": _share(tally.class_broken, tally.class_made),
        "kept": f"{tally.kept / made:.1%}" if tally.made else "-",
        "right": f"{tally.precision / made:.1%}" if tally.made else "-",
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
