"""What calibration costs `curate`: the stage as a process, on made-up probabilities, without and with it, in turn.

    python benchmarks/curate_stage.py [--rows 3000000] [--classes 10] [--repeats 3] [--quick] [--json FILE] [--code DIR]

A pool of that many images (64-digit ids, one part of probabilities a million) and what a net of known temperature says
of 1,000 held-out labels. `none`, `temperature`, `per_class` and `temperature` with target_precision 0.9 run alternately
on the same files; seconds are those of the stage's process, its start included. --code runs another working tree's.
--reading times the one step that calibration adds, by itself, beside the same in float64.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tasks import beliefs, files, held  # noqa: E402
from tasks.core import belief  # noqa: E402

PART, HELD = 1_000_000, 1_000
CASES: dict[str, dict[str, Any]] = {
    "none": {"calibration": "none"},
    "temperature": {"calibration": "temperature"},
    "per_class": {"calibration": "per_class"},
    "temperature, target_precision": {"calibration": "temperature", "target_precision": 0.9},
}
Run = tuple[float, float, float]  # seconds, core-seconds, peak bytes of this and all runs before


def main() -> None:
    """Make the pool, run every case in turn, print and store the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="200,000 rows, one repeat")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--code", type=Path, default=ROOT, help="the working tree whose stage is timed")
    parser.add_argument("--reading", action="store_true", help="only what reading a row of probabilities costs")
    args = parser.parse_args()
    if args.reading:
        reading()
        return
    rows, repeats = (200_000, 1) if args.quick else (args.rows, args.repeats)
    with tempfile.TemporaryDirectory(prefix="understudy-curate-") as folder:
        os.chdir(folder)
        make(rows, args.classes, args.code)
        runs: dict[str, list[Run]] = {case: [] for case in CASES}
        for _ in range(repeats):
            for case, change in CASES.items():
                runs[case].append(measure(case, change, args.code))
        found = report(runs, rows, args.classes)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def reading() -> None:
    """Microseconds of processor time an image, the best of five passes over one block."""
    print("| classes | as stored | temperature, float64 | temperature | bias a class, float64 | bias a class |")
    print("|---|---|---|---|---|---|")
    for classes in (10, 100, 1000):
        rng = np.random.default_rng(0)
        prob_BC, _ = _said(rng, min(beliefs.VALUES // classes, 1 << 16), classes)
        weight_C = np.exp(rng.normal(0, 0.5, classes))
        ways: list[Callable[[], object]] = [
            lambda p=prob_BC: belief.Reading(1.0).soft(p),  # type: ignore[misc]
            lambda p=prob_BC: belief.tempered(p, 1.3),  # type: ignore[misc]
            lambda p=prob_BC: belief.Reading(1.3).soft(p),  # type: ignore[misc]
            lambda p=prob_BC, w=weight_C: belief.reweighted(belief.tempered(p, 1.3), w),  # type: ignore[misc]
            lambda p=prob_BC, w=weight_C: belief.Reading(1.3, w).soft(p),  # type: ignore[misc]
        ]
        cells = []
        for way in ways:
            passes = []
            for _ in range(5):
                began = time.process_time()
                way()
                passes.append(time.process_time() - began)
            cells.append(f"{min(passes) / len(prob_BC) * 1e6:.2f}")
        print(f"| {classes} | " + " | ".join(cells) + " |")


def make(rows: int, classes: int, code: Path) -> None:
    """The artefacts that `curate@r1` reads, in the current folder."""
    names = [f"class {c:04d}" for c in range(classes)]
    rng = np.random.default_rng(0)
    packed = np.sort(rng.integers(0, 256, (rows, 32), dtype=np.uint8).view("S32").ravel())
    digits = packed.tobytes().hex()
    ids = pa.array([digits[i : i + 64] for i in range(0, len(digits), 64)])
    same = {name: pa.array([value], pa.string()).take(pa.array(np.zeros(rows, np.int64))) for name, value in _SAME}
    nobody = {"image_id": pa.array([], pa.string()), "label": pa.array([], pa.string())}
    given = pa.table({"image_id": [f"{c:064x}" for c in range(classes)], "label": names})

    def split(out: Path) -> None:
        files.write_json(names, out / "classes.json")
        files.write_table(given, out / "labeled.parquet")
        files.write_table(pa.table({"image_id": ids, **same}), out / "pool.parquet")

    def probs(out: Path) -> None:
        for number, first in enumerate(range(0, rows, PART)):
            part = ids.slice(first, PART)
            prob_NC, _ = _said(rng, len(part), classes)
            columns = {"image_id": part, "prob": pa.FixedSizeListArray.from_arrays(prob_NC.ravel(), classes)}
            table = pa.table(columns).cast(pa.schema({"image_id": pa.string(), "prob": pa.list_(pa.float32())}))
            files.write_table(table, out / f"part-{number:05d}.parquet")

    def net(out: Path) -> None:
        prob_NC, truth_N = _said(rng, HELD, classes)
        held_ids = [f"{10**6 + n:064x}" for n in range(HELD)]
        table = held.table(held_ids, [names[c] for c in truth_N], [held.CALIB] * HELD, prob_NC)
        held.write(out, table, names, 0)
        files.write_json({"key": "made-up", "classes": names}, out / "card.json")

    def labels(out: Path) -> None:
        files.write_table(files.LABEL_TABLE.empty_table(), out / "labels.parquet")

    for target, write in ((files.SPLIT, split), (files.probs("r1"), probs), (files.champion("r0"), net)):
        _publish(target, write)
    _publish(files.labels("r0"), labels)
    _publish(files.SEALED, lambda out: files.write_table(pa.table(nobody), out / "test.parquet"))
    shutil.copytree(code / "data/decisions", "data/decisions", dirs_exist_ok=True)
    for name in ("tasks", "dvc.yaml"):
        Path(name).symlink_to(code / name)


_SAME = (("status", "pool"), ("source", "digits"))


def _publish(target: Path, write: Callable[[Path], None]) -> None:
    staged = files.WORK / "made"
    staged.mkdir(parents=True)
    write(staged)
    files.seal(staged, {"stage": "made"})
    files.move_into_place(staged, target)


def _said(rng: np.random.Generator, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """What a net that is too sure by a temperature of 1.5 says, and the truth."""
    logit_NC = rng.standard_normal((n, classes), np.float32)
    best_N = rng.integers(0, classes, n)
    logit_NC[np.arange(n), best_N] += rng.exponential(5, n).astype(np.float32) + np.float32(np.log(classes))
    true_NC, said_NC = np.exp(logit_NC / 1.5), np.exp(logit_NC)
    true_NC /= true_NC.sum(axis=1, keepdims=True)
    truth_N = (rng.random((n, 1)) > true_NC.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)
    return said_NC / said_NC.sum(axis=1, keepdims=True), truth_N


def measure(case: str, change: dict[str, Any], code: Path) -> Run:
    """One run of the stage in a fresh process."""
    raw = yaml.safe_load((code / "params.yaml").read_text())
    raw["split"] |= {"calib": HELD}
    raw["hold"] |= {"chance": False, "max_label_error": 1.0, "starvation": False}
    raw["rounds"]["r1"]["curate"] |= change | {"max_share": 1.0}
    Path("params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-m", "tasks", "curate", "r1"], check=False, env=environment, capture_output=True, text=True
    )
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{case}: curate left with {done.returncode}\n{done.stdout}{done.stderr}")
    cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{case}: {seconds:.2f} s, {cores:.2f} core-seconds", file=sys.stderr, flush=True)
    return seconds, cores, after.ru_maxrss * 1024.0


def report(runs: dict[str, list[Run]], rows: int, classes: int) -> list[dict[str, Any]]:
    """Print the table; rows for --json. Medians; the ratio is of core-seconds, against `none` in this run."""
    print(
        f"\n{rows:,} images, {classes} classes, {len(runs['none'])} runs each, medians, the process's start included\n"
    )
    print("| calibration | million images/s | million images/core-second | core-seconds against none |")
    print("|---|---|---|---|")
    plain, found = statistics.median(cores for _, cores, _ in runs["none"]), []
    for case, done in runs.items():
        clock, cores = (statistics.median(rows / 1e6 / run[k] for run in done) for k in (0, 1))
        ratio = statistics.median(run[1] for run in done) / plain
        print(f"| {case} | {clock:.2f} | {cores:.2f} | {ratio:.2f} |")
        std = statistics.stdev(rows / 1e6 / run[1] for run in done) if len(done) > 1 else 0.0
        row = {"name": f"curate stage: {case}", "metric": "throughput", "value": cores, "std": std, "n": len(done)}
        found.append(row | {"unit": "million images/core-second", "against": "curate stage: none", "ratio": ratio})
    print(f"\npeak of all: {max(peak for done in runs.values() for *_, peak in done) / 1e9:.2f} GB")
    return found


if __name__ == "__main__":
    main()
