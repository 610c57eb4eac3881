"""What a pool of a million 32 x 32 images takes: memory and rates of ingest, split, a one-step teacher and label.

    python benchmarks/million.py [--rows 1000000] [--quick] [--json FILE] [--size 32]

Makes a Parquet manifest of JPEGs (blurred noise, each another one) in a temporary folder and runs the real stages as
processes there, one after the other. Peak memory is the kernel's (ru_maxrss of each process).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).resolve().parent.parent
LABELED, PORTION = 200, 10_000
STAGES = ("ingest own", "split", "labeled", "teacher", "label r1")
SCHEMA = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())])


def main() -> None:
    """Make the manifest, run the stages, print a row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="20,000 rows")
    parser.add_argument("--size", type=int, default=32, help="image.size, what the net sees")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    args = parser.parse_args()
    count = 20_000 if args.quick else args.rows
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), count, args.size)
        rows = [row for name in STAGES for row in run(name, Path(folder), count)]
    print(f"\n{count:,} images on {os.cpu_count()} cores\n")
    print("| stage | peak memory | seconds | images/s |\n|---|---|---|---|")
    for memory, rate in zip(rows[::2], rows[1::2], strict=True):
        seconds = count / rate["value"]
        print(f"| {memory['name']} | {memory['value']:.0f} MB | {seconds:.0f} | {rate['value']:,.0f} |")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def make(folder: Path, count: int, size: int) -> None:
    """The manifest and settings with the smallest net of the catalog."""
    source = folder / "source"
    source.mkdir()
    rng, began = np.random.default_rng(0), time.perf_counter()
    for name, rows in (("train", LABELED), ("pool", count - LABELED)):
        with pq.ParquetWriter(source / f"{name}.parquet", SCHEMA) as writer:
            for start in range(0, rows, PORTION):
                contents = list(_jpegs(rng, min(PORTION, rows - start)))
                label = [number % 10 if name == "train" else None for number in range(len(contents))]
                image = [{"bytes": content, "path": None} for content in contents]
                writer.write_table(pa.table({"image": image, "label": label}, SCHEMA))
                print(f"made {start + len(contents):,} of {rows:,}", file=sys.stderr, flush=True)
    print(f"manifest made in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    settings = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    settings["sources"] = {"own": {"kind": "manifest", "path": "source"}}
    settings["image"].update(size=size, channels=3)
    settings["split"].update(labels=100, test=50, calib=0, gate=0)
    settings["split"]["duplicates"]["near"] = False  # benchmarks/duplicates.py measures the search for near copies
    settings["teacher"].update(net="wrn10mp", width=1, steps=1)
    settings["label"].update(batch=128)
    (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    shutil.copytree(ROOT / "data/decisions", folder / "data/decisions")


def _jpegs(rng: np.random.Generator, count: int) -> Iterator[bytes]:
    import cv2

    for noise_HWC in rng.integers(0, 256, (count, 8, 8, 3), np.uint8):
        picture = cv2.resize(noise_HWC, (32, 32), interpolation=cv2.INTER_CUBIC)
        yield cv2.imencode(".jpg", picture)[1].tobytes()


def run(name: str, folder: Path, count: int) -> list[dict[str, Any]]:
    """One stage as a process; its peak memory and its rate."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "tasks", *name.split()]
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"{name} ended with {process.returncode}")
    print(f"{name}: {seconds:.0f} s, {usage.ru_maxrss / 1000:.0f} MB", file=sys.stderr, flush=True)
    memory = {"name": name, "metric": "peak_memory", "value": usage.ru_maxrss * 1024 / 1e6, "unit": "MB"}
    rate = {"name": name, "metric": "images_per_s", "value": count / seconds, "unit": "images/s"}
    return [row | {"std": 0.0, "n": 1} for row in (memory, rate)]


if __name__ == "__main__":
    main()
