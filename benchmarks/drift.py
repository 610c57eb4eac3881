"""What the shift test of drift@rK finds and what it raises for nothing, over many draws (docs/trust.md).

    python benchmarks/drift.py [--draws 100] [--quick] [--json FILE] [--cifar FOLDER] [--only digits|cifar10]

Every draw takes labeled images that the teacher did not learn from as reference and other images of the data set as
pool, both at random, and runs the stage's own test with the settings of params.yaml. Pools: as they are; skewed 10 to 1
by class, at random and against the classes the teacher is least sure of; with a half, a quarter, a tenth foreign images
in one source; and 100 foreign images as a source of their own. The nets are trained once (benchmarks/drift_nets.py):
five teachers of 50 digits, also with a cross-fitted reference, and one of 4,000 CIFAR-10 images. A data set with one
reference is the unit of work: what is in .work/benchmarks/drift is not computed again.
"""

import argparse
import json
import sys
import time
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from drift_nets import CIFAR, FOLDER, digits_rows, said  # a script beside this one

from tasks import files, params
from tasks.core import drift

ROOT = Path(__file__).resolve().parent.parent
SEEDS = {"digits": range(5), "cifar10": range(1)}
REFERENCES = {"digits": ("cross-fitted", 50, 100, 400), "cifar10": (50, 100, 400, 2000)}
POOL = {"digits": 1300, "cifar10": 4000}
SHARES, FEW, SKEW = (0.5, 0.25, 0.1), 100, 0.1
Found = dict[str, list[bool]]


def main() -> None:
    """All data sets and references, then the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="10 draws")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--cifar", type=Path, default=CIFAR)
    parser.add_argument("--only", choices=list(SEEDS))
    args = parser.parse_args()
    draws = 10 if args.quick else args.draws
    wanted = params.load(ROOT / "params.yaml").drift
    rows: list[dict[str, Any]] = []
    for data in [args.only] if args.only else list(SEEDS):
        nets = [said(data, seed, cifar=args.cifar) for seed in SEEDS[data]]
        for reference in REFERENCES[data]:
            code = files.sha256_file(Path(drift.__file__)) + files.sha256_file(Path(__file__))
            key = files.digest([data, reference, draws, wanted.model_dump(), code])[:16]
            path = FOLDER / f"found-{key}.json"
            if not path.is_file():
                files.replace_json(path, measured(nets, data, reference, draws, wanted))
            found: Found = files.read_json(path)
            _print(data, reference, found, draws)
            rows += [
                {"name": f"{data}, {reference}: {case}", "metric": "alarms", "value": float(np.mean(alarms))}
                | {"std": 0.0, "n": len(alarms), "unit": "share"}
                for case, alarms in found.items()
            ]
        if data == "digits":
            rows.append(flips(nets, wanted))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def flips(nets: list[dict[str, np.ndarray]], wanted: params.Drift) -> dict[str, Any]:
    """Labels that change from one teacher of 50 digits to another of 50 others: more than between runs."""
    prob_SNC = np.full((len(nets), 1797, 10), np.nan, np.float32)
    for seed, net in enumerate(nets):
        prob_SNC[seed, digits_rows(seed)] = net["pool_prob"]
    all_flips, confident_flips, alarms = [], [], 0
    for first, second in permutations(range(len(nets)), 2):
        both_N = ~np.isnan(prob_SNC[[first, second], :, 0]).any(axis=0)
        before_NC, now_NC = prob_SNC[first][both_N], prob_SNC[second][both_N]
        found = drift.flips(before_NC.argmax(1), now_NC.argmax(1), before_NC.max(1) > wanted.confident, 10)
        all_flips.append(found.flips / found.images)
        confident_flips.append(found.confident_flips / found.confident)
        alarms += drift.at_least(found.confident_flips, found.confident) > wanted.max_confident_flips
    print(
        f"\n{len(all_flips)} pairs of teachers of different labels: {np.mean(all_flips):.1%} of all labels flip, ",
        end="",
    )
    print(f"{np.mean(confident_flips):.1%} of the confident ones (at most {max(confident_flips):.1%}), {alarms} alarms")
    row = {
        "name": "digits: confident flips between teachers",
        "metric": "flips",
        "value": float(np.mean(confident_flips)),
    }
    return row | {"std": float(np.std(confident_flips, ddof=1)), "n": len(confident_flips), "unit": "share"}


def measured(
    nets: list[dict[str, np.ndarray]], data: str, reference: int | str, draws: int, wanted: params.Drift
) -> Found:
    """Whether each case raised an alarm in each draw."""
    found: Found = {}
    began = time.perf_counter()
    for draw in range(draws):
        net, rng = nets[draw % len(nets)], np.random.default_rng(draw)
        order = rng.permutation(len(net["pool_prob"]))
        count = 0 if reference == "cross-fitted" else int(reference)
        reference_KC = net["pool_prob"][order[:count]] if count else net["held_prob"]
        rows = order[count : count + POOL[data]]
        for case, batch_BC in cases(net, rows, rng).items():
            shift = drift.shift(reference_KC, batch_BC)
            share = shift.foreign(wanted.max_shift, wanted.false_alarm, 1, exact=count > 0)
            found.setdefault(case, []).append(share is not None)
        if draw % 10 == 9:
            print(f"{data} {reference}: {draw + 1}/{draws}, {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return found


def cases(net: dict[str, np.ndarray], rows: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The pools of one draw, by name: probabilities (B, C)."""
    prob_NC, label_N = net["pool_prob"][rows], net["pool_label"][rows]
    classes = prob_NC.shape[1]
    kept_C = np.geomspace(SKEW, 1, classes)  # share of each class that stays
    sure_C = np.array([net["pool_prob"][net["pool_label"] == c].max(axis=1).mean() for c in range(classes)])
    found = {
        "clean": prob_NC,
        "skewed": prob_NC[rng.random(len(rows)) < rng.permutation(kept_C)[label_N]],
        "skewed against the teacher": prob_NC[
            rng.random(len(rows)) < kept_C[::-1][sure_C.argsort().argsort()[label_N]]
        ],
    }
    for name, foreign_FC in net.items():
        if name.startswith("foreign "):
            shuffled_FC = foreign_FC[rng.permutation(len(foreign_FC))]
            for share in SHARES:
                size = min(len(rows), int(len(foreign_FC) / share))
                many = round(size * share)
                found[f"{name}, {share:g}"] = np.concatenate([prob_NC[: size - many], shuffled_FC[:many]])
            found[f"{name}, alone"] = shuffled_FC[:FEW]
    return found


def _print(data: str, reference: int | str, found: Found, draws: int) -> None:
    """A table a reference: false alarms, then a row a foreign set."""
    print(f"\n{data}, {reference} reference images, {draws} draws\n")
    print("| alarms | " + " | ".join(case for case in found if not case.startswith("foreign")) + " |")
    print(
        "| nothing foreign | " + " | ".join(f"{np.mean(v):.0%}" for c, v in found.items() if "foreign" not in c) + " |"
    )
    print("| foreign | a half | a quarter | a tenth | 100 alone |")
    for name in dict.fromkeys(case.rpartition(",")[0] for case in found if case.startswith("foreign")):
        cells = (f"{np.mean(found[f'{name}, {share}']):.0%}" for share in ("0.5", "0.25", "0.1", "alone"))
        print(f"| {name.removeprefix('foreign ')} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
