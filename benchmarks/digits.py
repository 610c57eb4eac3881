"""The README's table: handwritten digits with 30, 50 and 100 labels, our loop beside scikit-learn's methods.

    python benchmarks/digits.py [--seeds 0 1 2 3 4] [--quick] [--json FILE] [--settings params.yaml]

Every method sees the same splits: torch.randperm(1797) of a generator seeded with the split's seed; the first 400
images are the test, then the first n/10 of each class in that order are labeled, the rest is the pool. Ours runs the
functions the stages run, with the settings of params.yaml but for `split.calib`, `split.gate` and what is computed
from them: nothing is held out here, and labels are kept by `threshold` on what the net said. The peers see the 8x8
pixels, scaled to 0..1. The settings were chosen on splits with seeds from 100 on.
"""

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot

from tasks import params
from tasks.core.augment import Noise
from tasks.core.curation import curate
from tasks.core.metrics import accuracy
from tasks.core.predict import predict
from tasks.core.train import Examples, Recipe, train
from tasks.nets.catalog import build

LABELS = (30, 50, 100)
TEST, CLASSES = 400, 10
PEERS = ("SVC", "SelfTraining(SVC)", "LabelSpreading(knn 7)")
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of the digits."""

    labeled: Tensor
    pool: Tensor
    test: Tensor


def main() -> None:
    """Run all splits, a process per core, and print mean and standard deviation over the seeds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--quick", action="store_true", help="the first seed only")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--settings", type=Path, default=ROOT / "params.yaml")
    args = parser.parse_args()
    seeds = args.seeds[:1] if args.quick else args.seeds
    began = time.perf_counter()
    scores: dict[tuple[int, str], list[float]] = {}
    for labels, result in _finished([(seed, n) for n in LABELS for seed in seeds], args.settings):
        for name, value in result.items():
            scores.setdefault((labels, name), []).append(value)
    _print_table(scores, seeds, time.perf_counter() - began)
    if args.json:
        args.json.write_text(json.dumps(rows(scores), indent=1) + "\n", encoding="utf-8")


def one_split(seed: int, labels: int, settings: Path) -> dict[str, float]:
    """Test accuracy of each method on one split."""
    torch.set_num_threads(1)
    cfg = params.load(settings)
    split = make_split(seed, labels)
    return peers(split) | ours(split, cfg, seed)


def make_split(seed: int, labels: int) -> Split:
    """The split of issue 2; see the head of this file."""
    label_N = digits(8)[1]
    order = torch.randperm(len(label_N), generator=torch.Generator().manual_seed(seed))
    test, rest = order[:TEST], order[TEST:]
    labeled = torch.cat([rest[label_N[rest] == c][: labels // CLASSES] for c in range(CLASSES)])
    return Split(labeled, rest[~torch.isin(rest, labeled)], test)


@cache
def digits(size: int) -> tuple[Tensor, Tensor]:
    """Images as the stages see them, uint8 (N, 1, size, size), and labels (N,)."""
    from tasks.images import decode, digits

    pixels, labels = [], []
    for record in digits.read(Path()).records:
        assert isinstance(record.content, bytes)
        assert record.label
        pixels.append(decode.decode(record.content, size, channels=1, background=255))
        labels.append(int(record.label))
    return torch.from_numpy(np.stack(pixels)), torch.tensor(labels)


def peers(split: Split) -> dict[str, float]:
    """scikit-learn's methods; C=10 because the default of 1 is weaker here at every number of labels."""
    from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
    from sklearn.svm import SVC

    pixel_NCHW, label_N = digits(8)
    x = pixel_NCHW.flatten(1).double().numpy() / 255
    y = label_N.numpy()
    train_x = x[torch.cat([split.labeled, split.pool])]
    train_y = np.concatenate([y[split.labeled], np.full(len(split.pool), -1)])
    supervised = SVC(C=10).fit(x[split.labeled], y[split.labeled])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SVC(probability) will be renamed; images that no label reaches are 0/0
        self_training = SelfTrainingClassifier(SVC(C=10, probability=True, random_state=0)).fit(train_x, train_y)
        spreading = LabelSpreading(kernel="knn", n_neighbors=7, max_iter=200).fit(train_x, train_y)
    fitted: list[Any] = [supervised, self_training, spreading]
    return {
        name: float((model.predict(x[split.test]) == y[split.test]).mean())
        for name, model in zip(PEERS, fitted, strict=True)
    }


def ours(split: Split, cfg: params.Settings, seed: int) -> dict[str, float]:
    """Supervised-only net, teacher and the student of each round."""
    image_NCHW, label_N = digits(cfg.image.size)
    labeled = Examples(
        image_NCHW[split.labeled],
        one_hot(label_N[split.labeled], CLASSES).float(),
        torch.ones(len(split.labeled), dtype=torch.int64),
    )

    def score(net: nn.Module) -> float:
        prob_NC = predict(net, image_NCHW[split.test], cfg.label.batch).numpy()
        return accuracy(prob_NC, label_N[split.test].numpy())

    nets = {"r0": fit(cfg, cfg.teacher, labeled, None, seed, 0)}
    scores = {
        "supervised only, size and steps of the last student": score(
            fit(cfg, cfg.baseline, labeled, None, seed, len(cfg.rounds) + 1)
        ),
        "teacher r0": score(nets["r0"]),
    }
    for index, (key, entry) in enumerate(cfg.rounds.items(), start=1):
        prob_NC = predict(nets[entry.teacher], image_NCHW[split.pool], cfg.label.batch).numpy()
        pseudo = pseudo_examples(image_NCHW[split.pool], prob_NC, entry.curate, label_N[split.labeled])
        nets[key] = fit(cfg, entry.student, labeled, pseudo, seed, index)
        scores[f"student {key}"] = score(nets[key])
    return scores


def pseudo_examples(image_NCHW: Tensor, prob_NC: NDArray[Any], settings: params.Curate, labeled_K: Tensor) -> Examples:
    """The pool images a round learns from: one source, nobody corrected anything."""
    nobody_N, source_N = np.full(len(prob_NC), -1), np.zeros(len(prob_NC), dtype=np.int16)
    labeled_C = np.bincount(labeled_K.numpy(), minlength=CLASSES)
    chosen = settings.model_dump(exclude={"max_share", "calibration", "target_precision", "unreachable"})
    if isinstance(settings.align, dict):
        chosen["align"] = np.array([settings.align[str(c)] for c in range(CLASSES)])
    curated = curate(prob_NC, nobody_N, source_N, labeled_C, **chosen)
    kept_N = torch.from_numpy(curated.copies_N > 0)
    copies_N = torch.from_numpy(curated.copies_N.astype(np.int64))
    return Examples(image_NCHW[kept_N], torch.from_numpy(curated.target_NC)[kept_N], copies_N[kept_N])


def fit(
    cfg: params.Settings, spec: params.Net, labeled: Examples, pseudo: Examples | None, seed: int, index: int
) -> nn.Module:
    """Train one net as the stages do; `index` gives each net of a split randomness of its own."""
    seed = 1000 * seed + index
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build(
            spec.net,
            channels=cfg.image.channels,
            classes=CLASSES,
            width=spec.width,
            dropout=spec.dropout,
            stochastic_depth=spec.stochastic_depth,
        )
    recipe = Recipe(
        steps=spec.steps,
        ratio=spec.ratio if isinstance(spec, params.Student) else 0,
        **cfg.train.recipe(),
    )
    return train(net, labeled, pseudo, recipe, Noise(**spec.noise.model_dump()), seed)


def rows(scores: dict[tuple[int, str], list[float]]) -> list[dict[str, Any]]:
    """One row for each method and number of labels; the rows of ours are held against the best peer of the same run."""
    out = []
    for (labels, name), values in sorted(scores.items(), key=lambda item: item[0][0]):
        best = max(PEERS, key=lambda peer: statistics.mean(scores[labels, peer]))
        value = statistics.mean(values)
        row = {"name": f"digits-{labels}: {name}", "metric": "test_accuracy", "value": value, "std": _std(values)}
        row |= {"n": len(values), "unit": "share"}
        if name not in PEERS:
            row |= {"against": f"digits-{labels}: {best}", "ratio": value / statistics.mean(scores[labels, best])}
        out.append(row)
    return out


def _finished(jobs: list[tuple[int, int]], settings: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Results as they come, with a line of progress for each."""
    began = time.perf_counter()
    workers = min(len(jobs), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(one_split, seed, labels, settings): (seed, labels) for seed, labels in jobs}
        for done, future in enumerate(as_completed(futures), start=1):
            seed, labels = futures[future]
            result = future.result()
            last = list(result)[-1]
            line = f"{done}/{len(jobs)} {labels} labels, seed {seed}: {last} {result[last]:.4f}"
            print(f"{line}, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
            yield labels, result


def _print_table(scores: dict[tuple[int, str], list[float]], seeds: list[int], seconds: float) -> None:
    names = list(dict.fromkeys(name for _, name in scores))
    width = max(map(len, names))
    print(f"\nTest accuracy on {TEST} digits, mean ± std over the splits of seeds {' '.join(map(str, seeds))}\n")
    print("".join([f"| {'method':{width}} |", *(f" {n} labels".ljust(17) + "|" for n in LABELS)]))
    print("".join([f"|{'-' * (width + 2)}|", *("-" * 17 + "|" for _ in LABELS)]))
    for name in names:
        cells = (scores[n, name] for n in LABELS)
        print(f"| {name:{width}} |" + "".join(f" {statistics.mean(c):.4f} ± {_std(c):.4f} |" for c in cells))
    print(f"\n{seconds:.0f} s, a process with one thread per core ({os.cpu_count()} cores), torch {torch.__version__}")


def _std(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
