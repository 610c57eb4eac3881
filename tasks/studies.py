"""The study over seeds as `understudy seeds` leaves it in git: data/decisions/seeds.csv, a row a seed and net."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import files, ledger
from tasks.core.seeds import Difference, Spread, paired, spread

HEADER = ("seed", "net", "images", "accuracy", "experiment", "stopped")
CLOSE = 1e-6  # what evaluate rounds to


@dataclass(frozen=True, slots=True)
class Study:
    """Accuracy on the sealed test by net (baseline, r0, r1...) and seed, and the seeds a check stopped, with why."""

    accuracy: dict[str, dict[int, float]]
    stopped: dict[int, str]
    images: dict[int, int]  # seed: test images

    @property
    def seeds(self) -> list[int]:
        """The seeds that went through, in order."""
        return sorted(self.images)

    def spreads(self) -> dict[str, Spread]:
        """Mean and standard deviation of each net."""
        return {net: spread(list(found.values())) for net, found in self.accuracy.items()}

    def gain(self, new: str, old: str) -> Difference:
        """One net against another one over the seeds that have both."""
        seeds = [seed for seed in self.seeds if seed in self.accuracy[new] and seed in self.accuracy[old]]
        mine, theirs = self.accuracy[new], self.accuracy[old]
        return paired([mine[seed] for seed in seeds], [theirs[seed] for seed in seeds])

    def agrees(self, seed: int, accuracy: Mapping[str, float]) -> bool:
        """Does its row of `seed` say what a run with that seed measured: are these the same settings, data and code."""
        if not accuracy.keys() <= self.accuracy.keys():
            return False
        of_seed = {net: self.accuracy[net].get(seed, -1.0) for net in accuracy}
        return all(abs(of_seed[net] - value) < CLOSE for net, value in accuracy.items())


def of_round(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Accuracy on the test by net, from what `evaluate` measured (round: {"test": ...}); empty without test images."""
    tests = {round_: score["test"] for round_, score in scores.items()}
    if not tests or not all(tests.values()):
        return {}
    first, last = next(iter(tests.values())), list(tests.values())[-1]
    students = {round_: float(test["student"]["accuracy"]) for round_, test in tests.items()}
    return {"baseline": float(last["baseline"]["accuracy"]), "r0": float(first["teacher"]["accuracy"]), **students}


def read(path: Path) -> Study | None:
    """The study, or None where there is none yet; UserError naming the line that is wrong."""
    accuracy: dict[str, dict[int, float]] = {}
    stopped: dict[int, str] = {}
    images: dict[int, int] = {}
    for line, row in ledger.read(path, HEADER):
        try:
            seed = int(row["seed"])
            if row["stopped"]:
                stopped[seed] = row["stopped"]
                continue
            images[seed] = int(row["images"])
            accuracy.setdefault(row["net"], {})[seed] = float(row["accuracy"])
        except ValueError as error:
            raise ledger.refused(path, line, str(error)) from None
    return Study(accuracy, stopped, images) if images or stopped else None


def write(path: Path, study: Study, experiments: Mapping[int, str]) -> None:
    """Put a study in the place of the one before, which git keeps."""
    rows: list[tuple[object, ...]] = [
        (seed, net, study.images[seed], f"{found[seed]:.6f}", experiments[seed], "")
        for net, found in study.accuracy.items()
        for seed in sorted(found)
    ]
    rows += [(seed, "", "", "", experiments[seed], why) for seed, why in sorted(study.stopped.items())]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([HEADER, *rows])
    files.replace_file(path, text.getvalue())
