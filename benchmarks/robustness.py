"""The table of docs/trust.md: teacher and student on worse CIFAR-10 images, and what measuring it costs.

    python benchmarks/robustness.py DATA [--steps 500] [--pool 10000] [--images 1000] [--seed 0] [--json FILE]

DATA holds train.parquet and test.parquet in Hugging Face's form. Nets, noise and optimiser are those of
settings/cifar10.yaml; the budget is smaller: `--steps` for each net, 4,000 labels, `--pool` unlabeled images, soft
labels from a confidence of 0.5 on. Trained nets are kept under .work/benchmarks and found again. The measuring is that
of the stage `robustness` (tasks/probing.py).
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import one_hot

from tasks.core.augment import Noise
from tasks.core.predict import predict
from tasks.core.train import Examples, Recipe, train
from tasks.images.decode import decode
from tasks.nets.catalog import build
from tasks.params import Net, Settings, Student, load
from tasks.probing import summarised, tested

LABELS, THRESHOLD = 4000, 0.5
NETS = Path(".work/benchmarks/robustness")


def main() -> None:
    """Train both nets, test them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    for name, default in (("steps", 500), ("pool", 10_000), ("images", 1000), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    settings = load(Path("settings/cifar10.yaml"))
    settings = settings.model_copy(
        update={"robustness": settings.robustness.model_copy(update={"images": args.images}), "seed": args.seed}
    )
    image_NCHW, label_N = _images(args.data / "train.parquet", LABELS + args.pool, args.seed, settings)
    labeled = Examples(
        image_NCHW[:LABELS], one_hot(label_N[:LABELS], 10).float(), torch.ones(LABELS, dtype=torch.int64)
    )
    teacher = _trained("teacher", settings, settings.teacher, labeled, None, args)
    prob_NC = predict(teacher, image_NCHW[LABELS:], settings.label.batch)
    kept_N = (prob_NC.max(dim=1).values >= THRESHOLD).long()
    right = (prob_NC.argmax(dim=1) == label_N[LABELS:])[kept_N.bool()].float().mean()
    print(f"labels: {int(kept_N.sum()):,} of {args.pool:,} kept, {right:.1%} right", flush=True)
    pseudo = Examples(image_NCHW[LABELS:], prob_NC, kept_N)
    student = _trained("student", settings, settings.rounds["r1"].student, labeled, pseudo, args)
    test_NCHW, truth_N = _images(args.data / "test.parquet", args.images, args.seed, settings)
    ids, columns, began = [f"{i:064x}" for i in range(len(truth_N))], {}, time.perf_counter()
    for made in tested(settings, {"teacher": teacher, "student": student}, ids, test_NCHW, truth_N):
        columns |= made
        print(f"{len(columns):4} columns, {time.perf_counter() - began:6.1f} s, {next(iter(made))}", flush=True)
    seconds = time.perf_counter() - began
    table = pa.table({"image_id": pa.array(ids), **{name: pa.array(of) for name, of in columns.items()}})
    summary, _ = summarised(table, settings.robustness)
    _print(summary, seconds, args)
    if args.json:
        args.json.write_text(json.dumps(summary | {"seconds": seconds}, indent=1), encoding="utf-8")


def _images(path: Path, count: int, seed: int, settings: Settings) -> tuple[Tensor, Tensor]:
    """`count` random images, uint8 NCHW, and their classes."""
    table = pq.read_table(path)
    chosen = np.random.default_rng(seed).permutation(table.num_rows)[:count]
    rows = table.take(pa.array(chosen)).to_pydict()
    form = settings.image
    pixel = [decode(image["bytes"], form.size, form.channels, form.background) for image in rows["image"]]
    return torch.from_numpy(np.stack(pixel)), torch.tensor(rows["label"])


def _trained(
    name: str, settings: Settings, spec: Net, labeled: Examples, pseudo: Examples | None, args: argparse.Namespace
) -> nn.Module:
    path = NETS / f"{name}-{args.seed}-{args.steps}-{args.pool}.safetensors"
    torch.manual_seed(args.seed)
    form = {"dropout": spec.dropout, "stochastic_depth": spec.stochastic_depth}
    net = build(spec.net, channels=3, classes=10, width=spec.width, **form)
    if path.is_file():
        net.load_state_dict(load_file(path))
        return net.eval()
    chosen = settings.train.recipe()
    recipe = Recipe(steps=args.steps, ratio=spec.ratio if isinstance(spec, Student) else 0, **chosen)
    began = time.perf_counter()

    def log(row: dict[str, float]) -> None:
        if row["step"] % 100 == 0:
            print(f"{name} {row['step']:5.0f} loss {row['loss']:.3f} {time.perf_counter() - began:6.1f} s", flush=True)

    trained = train(net, labeled, pseudo, recipe, Noise(**spec.noise.model_dump()), args.seed, log=log)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in trained.state_dict().items()}, path)
    return trained.eval()


def _print(summary: dict, seconds: float, args: argparse.Namespace) -> None:
    print(f"\n{summary['images']} images, {args.steps} steps a net, seed {args.seed}; measured in {seconds:.0f} s")
    print("| | teacher | student | |\n|---|---|---|---|")
    print(f"| clean accuracy | {summary['clean']['teacher']:.3f} | {summary['clean']['student']:.3f} | |")
    for name, of in (("mCE", summary["mce"]), ("mFR", summary["mfr"])):
        interval = f"{of['low']:.1f} to {of['high']:.1f}"
        print(f"| {name} | 100 | {of['value']:.1f} ({interval}) | shares {of['teacher']:.3f}, {of['student']:.3f} |")
        for what, one in of["each"].items():
            print(f"|   {what} | {one['teacher']:.3f} | {one['student']:.3f} | ratio {one['ratio']:.2f} |")
    for kind in ("fgsm", "pgd"):
        for attack in summary[kind]:
            gain = (
                f"{attack['gain']['points']:+.1f} points ({attack['gain']['low']:.1f} to {attack['gain']['high']:.1f})"
            )
            print(f"| {kind} eps {attack['eps']:g} | {attack['teacher']:.3f} | {attack['student']:.3f} | {gain} |")


if __name__ == "__main__":
    main()
