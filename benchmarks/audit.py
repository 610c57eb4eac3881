"""Do the intervals of an audit hold? Simulated audits of label tables whose truth is known.

    python benchmarks/audit.py [--draws 4000] [--quick] [--json FILE] [--workspace FOLDER --round r1]

Each setting is a population of accepted labels (class shares, share of wrong ones and where they lie); every draw is
one audit by the functions that `understudy audit` uses, with a reviewer who names every class rightly. Counted is how
often the truth lies in the interval: overall (two-sided and one-sided), and in every class. Beside it Wilson's
interval, which is shown but decides nothing, and the weighted normal interval of the textbooks. With --json a killed
run goes on where it was. --workspace audits the label table of a finished run instead, its truth from data/sealed.
"""

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from tasks.core import audit

SHAPES = {
    "10 equal classes": [0.1] * 10,
    "10 skewed classes": [0.55, 0.2, 0.1, 0.05, 0.03, 0.02, 0.02, 0.01, 0.01, 0.01],
    "2 classes, 95 to 5": [0.95, 0.05],
    "100 skewed classes": list(1 / np.arange(1, 101) / (1 / np.arange(1, 101)).sum()),
}
WRONG = [0.0, 0.001, 0.005, 0.02, 0.1, 0.3]
WHERE = ["anywhere", "least confident", "rarest classes"]
SIZES = [30, 100, 200, 500]
POPULATION = 3000
Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """One population and the size of its audits."""

    shape: str
    wrong: float
    where: str
    n: int


of_class = lru_cache(maxsize=None)(audit.of_class)


def main() -> None:
    """Simulate, print the table by shape and size, and the worst setting of each interval."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=4000, help="audits a setting")
    parser.add_argument("--quick", action="store_true", help="200 audits a setting, two sizes")
    parser.add_argument("--json", type=Path, help="write the rows to this file, and go on from it")
    parser.add_argument("--workspace", type=Path, help="a finished run whose label table is audited instead")
    parser.add_argument("--round", default="r1")
    args = parser.parse_args()
    draws, sizes = (200, [30, 200]) if args.quick else (args.draws, SIZES)
    rows: list[Row] = json.loads(args.json.read_text()) if args.json and args.json.exists() else []
    if args.workspace:
        settings = [Setting(f"{args.workspace.name}, {args.round}", -1.0, "as it is", n) for n in sizes]
    else:
        grid = product(SHAPES, WRONG, WHERE, sizes)
        settings = [Setting(*at) for at in grid if at[1] > 0 or at[2] == WHERE[0]]
    for number, setting in enumerate(settings):
        if any(all(row[k] == v for k, v in asdict(setting).items()) and row["draws"] == draws for row in rows):
            continue
        begin = time.monotonic()
        population = from_run(args.workspace, args.round) if args.workspace else made_up(setting)
        rows.append(asdict(setting) | measure(population, setting.n, draws, seed=number))
        print(f"{number + 1}/{len(settings)} {time.monotonic() - begin:.1f} s {setting}", file=sys.stderr, flush=True)
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1) + "\n")
    report([row for row in rows if row["draws"] == draws])


def made_up(setting: Setting) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class, confidence and whether it is wrong, of each accepted label; at least one wrong one unless none is."""
    rng = np.random.default_rng(0)
    share_C = np.array(SHAPES[setting.shape])
    size_C = np.maximum(np.round(share_C * POPULATION).astype(int), 3)
    label_N = np.repeat(np.arange(len(size_C)), size_C)
    confidence_N = rng.beta(6, 1, len(label_N))
    mistakes = round(setting.wrong * len(label_N))
    order_N = {
        "anywhere": rng.permutation(len(label_N)),
        "least confident": np.argsort(confidence_N),
        "rarest classes": np.arange(len(label_N))[::-1],
    }[setting.where]
    wrong_N = np.zeros(len(label_N), bool)
    wrong_N[order_N[:mistakes]] = True
    return label_N, confidence_N, wrong_N


def from_run(folder: Path, round_: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of a finished run's accepted labels whose truth is known."""
    import pyarrow.parquet as pq

    truth = dict(zip(*pq.read_table(folder / "data/sealed/truth.parquet").to_pydict().values(), strict=True))
    table = pq.read_table(folder / f"data/labels/{round_}/labels.parquet").to_pandas()
    ours = table[(table["copies"] > 0) & (table["source"] != "human") & table["image_id"].isin(list(truth))]
    wrong_N = (ours["label"] != ours["image_id"].map(truth)).to_numpy()
    return ours["label"].factorize(sort=True)[0], ours["confidence"].to_numpy(), wrong_N


def measure(population: tuple[np.ndarray, np.ndarray, np.ndarray], n: int, draws: int, seed: int) -> Row:
    """Coverage of each interval over many audits, and mean widths. The population is sorted once, as `draw` does."""
    label_N, confidence_N, wrong_N = population
    rng = np.random.default_rng(seed)
    stratum_N = audit.strata(label_N, n)
    size_H, truth = np.bincount(stratum_N), 1 - wrong_N.mean()
    truth_H = 1 - np.bincount(stratum_N, wrong_N) / size_H
    wrong_of_H = np.split(wrong_N[np.lexsort((confidence_N, label_N, stratum_N))], np.cumsum(size_H)[:-1])
    n_H = audit.allocate(size_H, n)
    every = list(zip(size_H.tolist(), n_H.tolist(), wrong_of_H, strict=True))
    counts: Counter[tuple[int, ...]] = Counter()
    for _ in range(draws):
        counts[tuple(int(wrong[audit.zones(size, m, rng)].sum()) for size, m, wrong in every)] += 1
    hit = dict.fromkeys(("exact", "one_sided", "wilson", "normal", "width", "wilson_width"), 0.0)
    hit_H = np.zeros((2, len(size_H)))
    for found, times in counts.items():
        wrong_H = np.array(found)
        share = audit.overall(size_H, n_H - wrong_H, wrong_H, np.zeros_like(n_H))
        hit["exact"] += times * (share.low <= truth <= share.high)
        hit["one_sided"] += times * (share.at_least <= truth)
        hit["wilson"] += times * (share.display[0] - 1e-9 <= truth <= share.display[1] + 1e-9)
        hit["normal"] += times * (abs(share.share - truth) <= normal(size_H, n_H, wrong_H) + 1e-9)
        hit["width"] += times * (share.high - share.low)
        hit["wilson_width"] += times * (share.display[1] - share.display[0])
        for h, (m, k) in enumerate(zip(n_H.tolist(), found, strict=True)):
            one = of_class(m - k, k, 0)
            hit_H[:, h] += times * (one.low <= truth_H[h] <= one.high), times * (one.at_least <= truth_H[h])
    classes = {"class_exact": hit_H[0].min() / draws, "class_one_sided": hit_H[1].min() / draws}
    return {name: value / draws for name, value in hit.items()} | classes | {"truth": truth, "draws": draws}


def normal(size_H: np.ndarray, n_H: np.ndarray, wrong_H: np.ndarray) -> float:
    """Half the width of the textbook's interval for a stratified sample: 1.96 standard errors."""
    q_H = wrong_H / n_H
    return float(1.96 * np.sqrt((((size_H / size_H.sum()) ** 2) * q_H * (1 - q_H) / np.maximum(n_H - 1, 1)).sum()))


def report(rows: list[Row]) -> None:
    """Least coverage over the settings of a shape and a size: overall, in the worst class, and of what is not used."""
    print(
        "| accepted labels | n | settings | exact | one-sided | worst class | Wilson | normal | width exact, Wilson |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for shape, n in dict.fromkeys((row["shape"], row["n"]) for row in rows):
        part = [row for row in rows if (row["shape"], row["n"]) == (shape, n)]
        least = {name: min(row[name] for row in part) for name in ("exact", "one_sided", "wilson", "normal")}
        worst = min(min(row["class_exact"], row["class_one_sided"]) for row in part)
        widths = [np.mean([row[name] for row in part]) for name in ("width", "wilson_width")]
        print(
            f"| {shape} | {n} | {len(part)} | {least['exact']:.3f} | {least['one_sided']:.3f} | {worst:.3f} "
            f"| {least['wilson']:.3f} | {least['normal']:.3f} | {widths[0]:.3f}, {widths[1]:.3f} |"
        )
    for name in ("exact", "one_sided", "class_exact", "class_one_sided", "wilson", "normal"):
        row = min(rows, key=lambda row: row[name])
        where = f"{row['shape']}, {1 - row['truth']:.4f} wrong ({row['where']}), n = {row['n']}"
        print(f"least coverage, {name}: {row[name]:.4f} ({where}; {row['draws']} audits)")


if __name__ == "__main__":
    main()
