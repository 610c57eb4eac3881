"""How many wrong labels a review queue holds, beside a random one of the same size.

    python benchmarks/review_queue.py [--cifar FOLDER] [--seeds 0 1 2] [--budget 200] [--quick] [--json FILE]

Of the labels of a pool 10 % are changed to another class, drawn evenly. Three settings, from easy to hard:

- given     the labels are the true ones but for the changed; the net (a teacher of 50 digits or 4,000 CIFAR-10 images)
            never saw them. What one gets when labels come from elsewhere.
- learnt    the same labels, but the only net there is was trained on them, the wrong ones included.
- pipeline  the labels are a teacher's that passed the threshold, its own mistakes included, and 10 % of them are
            changed together with what the teacher said: it backs each wrong label as firmly as it backed the right
            one. The student learnt from all of it. Only the student and its features can tell.

Errors are all labels that are not the true ones; in `pipeline` those are the changed and the teacher's own. Random is
the mean over all possible random queues: budget times the share of errors. Splits are those of benchmarks/digits.py;
of CIFAR-10 a seed draws 4,000 labels and a pool of 6,000. Nets are the settings' own, smaller and with fewer steps for
CIFAR-10, or with --steps.

What the nets say is kept under .work/review_queue, so that a killed run goes on. The weights (review.queue in
params.yaml) were set before the first run and not changed after it. Neither set has near copies or rare classes: those
two lists are empty here.
"""

import argparse
import json
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot

from benchmarks.digits import CLASSES, digits, fit, make_split
from tasks import files, params
from tasks.core import budget, evidence
from tasks.core.neighbours import shares
from tasks.core.train import Examples
from tasks.nearest import look
from tasks.params_review import Queue

ROOT = Path(__file__).resolve().parent.parent
HOME = files.WORK / "review_queue"
SETTINGS = ("given", "learnt", "pipeline")
CHANGED = 0.1
CIFAR_LABELS, CIFAR_POOL = 4000, 6000
DRAWS = 20  # queues of each case: the slice differs


@dataclass(frozen=True, slots=True)
class Case:
    """Labels of N images, which are wrong, and what is known of them."""

    label_N: NDArray[Any]
    truth_N: NDArray[Any]
    changed_N: NDArray[Any]
    first_NC: NDArray[Any]  # what the net says, or the teacher in `pipeline`
    second_NC: NDArray[Any]  # what the student says; NaN elsewhere
    vote_NC: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Set:
    """A labeled part and a pool."""

    cfg: params.Settings
    image_NCHW: Tensor
    label_N: Tensor
    labeled: Tensor
    pool: Tensor


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
    sets = ["digits"] + (["CIFAR-10 (JPEG)"] if args.cifar and not args.quick else [])
    sets = [name for name in sets if name.startswith(args.only)]
    seeds = args.seeds[:1] if args.quick else args.seeds
    rows = []
    for name in sets:
        weights = params.load(ROOT / "params.yaml").review.queue
        for setting in args.settings:
            cases = [(seed, case(name, setting, seed, args.cifar, args.steps)) for seed in seeds]
            rows += summary(name, setting, [count(found, weights, args.budget, seed) for seed, found in cases])
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def case(name: str, setting: str, seed: int, folder: Path | None, steps: int | None) -> Case:
    """From the disk, or made now."""
    done = HOME / f"{name.split(maxsplit=1)[0]}-{setting}-{seed}-{steps or 0}.npz"
    if not done.is_file():
        done.parent.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)
        made = _made(name, setting, seed, folder, steps)
        temporary = done.with_suffix(".tmp.npz")
        np.savez(temporary, **{field.name: getattr(made, field.name) for field in fields(Case)})
        temporary.replace(done)
        print(
            f"{done.name}: {len(made.label_N):,} labels, {(made.label_N != made.truth_N).mean():.1%} wrong", flush=True
        )
    return Case(**np.load(done))


def count(found: Case, weights: Queue, size: int, seed: int) -> dict[str, float]:
    """Share of wrong labels of a queue and of all labels; and of those that were changed."""
    N = len(found.label_N)
    opinions = [p for p in (found.first_NC, found.second_NC) if not np.isnan(p).all()]
    confidence_N = found.first_NC[np.arange(N), found.label_N]
    known = evidence.Evidence(
        found.label_N, opinions, found.vote_NC, np.full(N, np.nan), confidence_N, np.full(N, np.min(confidence_N))
    )
    lists = evidence.lists(known)
    wrong_N, total = found.label_N != found.truth_N, dict.fromkeys(("wrong", "changed", "slice"), 0.0)
    for draw in range(DRAWS):
        queue = budget.mix(lists, weights.weights(), N, size, weights.random, 1000 * seed + draw)
        is_slice = np.array([reason == budget.RANDOM for reason in queue.reason_B])
        total["wrong"] += float(wrong_N[queue.row_B].mean()) / DRAWS
        total["changed"] += float(found.changed_N[queue.row_B].mean()) / DRAWS
        total["slice"] += float(wrong_N[queue.row_B[is_slice]].mean()) / DRAWS
    total |= {"wrong_all": float(wrong_N.mean()), "changed_all": float(found.changed_N.mean()), "labels": N}
    return total | {f"{name}": float(wrong_N[rows[:100]].mean()) for name, rows in lists.items() if len(rows)}


def summary(name: str, setting: str, found: list[dict[str, float]]) -> list[dict[str, Any]]:
    """Two rows: all wrong labels, and those that were changed."""
    rows = []
    for kind in ("wrong", "changed"):
        share = np.array([one[kind] for one in found])
        ratio = share / np.array([one[f"{kind}_all"] for one in found])
        row = {"name": f"{name}, {setting}", "metric": f"{kind}_in_queue", "value": float(share.mean())}
        row |= {"std": float(share.std(ddof=1)) if len(share) > 1 else 0.0, "n": len(found), "unit": "share"}
        row |= {"against": "random", "ratio": float(ratio.mean()), "least_ratio": float(ratio.min())}
        row |= {"random": float(np.mean([one[f"{kind}_all"] for one in found]))}
        row |= {"slice": float(np.mean([one["slice"] for one in found]))}
        lists = set(evidence_names()) & set.intersection(*(set(one) for one in found))
        rows.append(row | {"first_100": {n: float(np.mean([one[n] for one in found])) for n in sorted(lists)}})
    return rows


def evidence_names() -> tuple[str, ...]:
    """The lists of tasks/core/evidence.py."""
    return ("disagreement", "atypical", "copies", "rare_class", "threshold")


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| set, setting | errors counted | in the queue | random | ratio (least of the seeds) |", "|" + "---|" * 5]
    for row in rows:
        where = f"{row['value']:.1%} ± {row['std']:.1%} | {row['random']:.1%}"
        kind = "all" if row["metric"] == "wrong_in_queue" else "changed ones alone"
        lines.append(f"| {row['name']} | {kind} | {where} | {row['ratio']:.1f} ({row['least_ratio']:.1f}) |")
    lines += [f"{row['name']}: wrong among the first 100 of a list: {row['first_100']}" for row in rows[::2]]
    return "\n".join(lines)


def _made(name: str, setting: str, seed: int, folder: Path | None, steps: int | None) -> Case:
    data = _digits(seed, steps) if name == "digits" else _cifar(seed, folder or Path(), steps or 400)
    rng = np.random.default_rng([seed, SETTINGS.index(setting)])
    truth_N, image_NCHW = data.label_N[data.pool].numpy(), data.image_NCHW[data.pool]
    labeled = _examples(data.image_NCHW[data.labeled], data.label_N[data.labeled].numpy())
    student = data.cfg.rounds["r1"].student
    if setting == "learnt":
        label_N, changed_N = _changed(truth_N, rng)
        net = fit(data.cfg, student, labeled, _examples(image_NCHW, label_N), seed, 1)
        prob_NC, vote_NC = _seen(net, image_NCHW, label_N)
        return Case(label_N, truth_N, changed_N, prob_NC, np.full_like(prob_NC, np.nan), vote_NC)
    teacher = fit(data.cfg, data.cfg.teacher, labeled, None, seed, 0)
    if setting == "given":
        label_N, changed_N = _changed(truth_N, rng)
        prob_NC, vote_NC = _seen(teacher, image_NCHW, label_N)
        return Case(label_N, truth_N, changed_N, prob_NC, np.full_like(prob_NC, np.nan), vote_NC)
    said_NC, _ = look(teacher, image_NCHW, data.cfg.label.batch)
    kept = np.flatnonzero(said_NC.numpy().max(axis=1) >= data.cfg.rounds["r1"].curate.threshold)
    first_NC, truth_N, image_NCHW = said_NC.numpy()[kept], truth_N[kept], image_NCHW[torch.from_numpy(kept)]
    was_N = first_NC.argmax(axis=1)
    label_N, changed_N = _changed(was_N, rng)
    at = np.arange(len(kept))
    backed_NC = first_NC.copy()
    backed_NC[at, label_N], backed_NC[at, was_N] = first_NC[at, was_N], first_NC[at, label_N]
    net = fit(data.cfg, student, labeled, _examples(image_NCHW, label_N), seed, 1)
    second_NC, vote_NC = _seen(net, image_NCHW, label_N)
    return Case(label_N, truth_N, changed_N & (label_N != truth_N), backed_NC, second_NC, vote_NC)


def _changed(label_N: NDArray[Any], rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """The labels with CHANGED of them moved to another class, drawn evenly; which ones."""
    changed_N = np.zeros(len(label_N), bool)
    changed_N[rng.permutation(len(label_N))[: round(CHANGED * len(label_N))]] = True
    other_N = (label_N + rng.integers(1, CLASSES, len(label_N))) % CLASSES
    return np.where(changed_N, other_N, label_N), changed_N


def _seen(net: nn.Module, image_NCHW: Tensor, label_N: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """What a net says, and what the neighbours in its features say."""
    prob_NC, feature_ND = look(net, image_NCHW, 256)
    k = params.load(ROOT / "params.yaml").review.queue.neighbours
    return prob_NC.numpy(), shares(feature_ND, torch.from_numpy(label_N), CLASSES, k).numpy()


def _examples(image_NCHW: Tensor, label_N: NDArray[Any]) -> Examples:
    target_NC = one_hot(torch.from_numpy(label_N), CLASSES).float()
    return Examples(image_NCHW, target_NC, torch.ones(len(label_N), dtype=torch.int64))


def _digits(seed: int, steps: int | None) -> Set:
    cfg = params.load(ROOT / "params.yaml")
    cfg = _with(cfg, {"steps": steps}) if steps else cfg
    split = make_split(seed, 50)
    return Set(cfg, *digits(cfg.image.size), split.labeled, torch.cat([split.pool, split.test]))


def _with(cfg: params.Settings, other: dict[str, int]) -> params.Settings:
    """The settings with teacher and first student changed."""
    entry = cfg.rounds["r1"]
    entry = entry.model_copy(update={"student": entry.student.model_copy(update=other)})
    return cfg.model_copy(update={"teacher": cfg.teacher.model_copy(update=other), "rounds": {"r1": entry}})


def _cifar(seed: int, folder: Path, steps: int) -> Set:
    cfg = params.load(ROOT / "settings/cifar10.yaml")
    cfg = _with(cfg, {"steps": steps, "width": cfg.teacher.width})
    image_NCHW, label_N = _cifar_images(folder, cfg.image.size)
    order = torch.randperm(len(label_N), generator=torch.Generator().manual_seed(seed))
    return Set(cfg, image_NCHW, label_N, order[:CIFAR_LABELS], order[CIFAR_LABELS : CIFAR_LABELS + CIFAR_POOL])


@cache
def _cifar_images(folder: Path, size: int) -> tuple[Tensor, Tensor]:
    from tasks.images.decode import decode

    rows = pq.read_table(folder / "train.parquet").to_pydict()
    pixels = [decode(image["bytes"], size, channels=3, background=255) for image in rows["image"]]
    return torch.from_numpy(np.stack(pixels)), torch.tensor(rows["label"])


if __name__ == "__main__":
    main()
