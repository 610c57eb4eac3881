"""How fast images come in and through a net: ours, the bare work, a DataLoader and FiftyOne, in one run.

    python benchmarks/data_plane.py [--quick] [--json FILE] [--data FOLDER] [--threads N] [--only ingest|label]
                                    [--form jpeg|exif|png] [--files 20000] [--rounds 5]

`--data` is a folder with train.parquet of JPEGs (CIFAR-10); without it images are made up. Every figure is the median
of repeats that alternate between all measured things, after a warm-up; a ratio is the median of the ratios within each
round, since a machine that others use is slower in one minute than in the next. `--form` writes the images anew before
ingest: JPEG with an orientation to undo, or PNG. Compared are

- `ingest` (the stage from its settings to its published artefacts, in this process) with a bare loop of read + sha256 +
  decode on all cores, the better of threads and processes;
- reading, predicting and writing chunks as `label` does with `predict` over the same images already decoded in memory:
  decoded on the way (first pass) and read from the decoded cache (later passes);
- the same net fed by a DataLoader with torchvision's transforms, the best of 0, 1 and 2 workers, and by FiftyOne.

`bound` is what arithmetic allows a first pass where the net alone keeps all cores busy: net / (net + decoding on all
cores). Decoding is faster than that for JPEGs that have the net's size already (tasks/images/plain.py).
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from feeding import CORES, Case, cases, data_loader, decoding, fiftyone, label
from PIL import ExifTags, Image

from tasks import files, stage
from tasks.core.predict import predict
from tasks.images import cache
from tasks.images.store import Images

ROOT = Path(__file__).resolve().parent.parent
LARGE = (500, 375)  # as ImageNet's photographs
Jobs = dict[str, Callable[[], float]]


def main() -> None:
    """Make the images, measure, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer images, one repeat: under three minutes")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--data", type=Path, help="folder with train.parquet, its images JPEG")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's threads, for all")
    parser.add_argument("--only", choices=("ingest", "label"), help="half of it")
    parser.add_argument("--files", type=int, default=20_000, help="small files; of the large ones a fifth as many")
    parser.add_argument("--rounds", type=int, default=5, help="repeats after the warm-up")
    parser.add_argument("--form", choices=("jpeg", "exif", "png"), default="jpeg", help="of the files that come in")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    out = args.json.resolve() if args.json else None
    repeats = 1 if args.quick else args.rounds
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        contextlib.chdir(folder),
    ):  # a mongod ends late
        small, large = make_images(args, 2000 if args.quick else args.files, 48 if args.quick else args.files // 5)
        rows = []
        for name, where in ((f"32 px {args.form} files", small), (f"{LARGE[0]} x {LARGE[1]} {args.form} files", large)):
            with contextlib.chdir(where):
                if args.only == "label":
                    ingest()
                    continue
                rows += rows_of(f"ingest, {name}", measure(ingest_jobs(), repeats, name), count_files(), "bare loop")
        for case in [] if args.only == "ingest" else cases(small, large, args.quick):
            with contextlib.chdir(case.folder):
                rows += measure_label(case, repeats)
    print_table(rows, args.threads, time.perf_counter() - began)
    if out:
        out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def make_images(args: argparse.Namespace, small: int, large: int) -> tuple[Path, Path]:
    """Two projects with images in source/: small ones of the data set, and large ones made of these."""
    rng = np.random.default_rng(0)
    if args.data:
        table = pq.read_table(args.data / "train.parquet", columns=["image"]).slice(0, small)
        content = [row["bytes"] for row in table["image"].to_pylist()]
    else:
        content = [_jpeg(_picture(rng, 8).resize((32, 32), Image.Resampling.BICUBIC)) for _ in range(small)]
    say(f"{len(content)} images of 32 px, {sum(map(len, content)) / len(content):.0f} bytes each")
    photos = []
    for number in range(large):
        with Image.open(io.BytesIO(content[number % len(content)])) as image:
            big = image.convert("RGB").resize(LARGE, Image.Resampling.BICUBIC)
        grain = rng.normal(0, 6, (LARGE[1], LARGE[0], 3))
        photos.append(_jpeg(Image.fromarray(np.clip(np.asarray(big) + grain, 0, 255).astype(np.uint8))))
    say(f"{len(photos)} images of {LARGE}, {sum(map(len, photos)) / len(photos):.0f} bytes each")
    return _project(Path("small"), content, args.form), _project(Path("large"), photos, args.form)


def _picture(rng: np.random.Generator, side: int) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8))


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _again(content: bytes, form: str) -> bytes:
    """The same picture as PNG, or as a JPEG whose EXIF data says that it lies on its side."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        if form == "png":
            image.save(stream, "PNG")
        else:
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = 6
            image.save(stream, "JPEG", quality=90, exif=exif)
    return stream.getvalue()


def _project(folder: Path, contents: list[bytes], form: str) -> Path:
    for number, content in enumerate(contents):
        place = folder / "source" / ("labeled/some" if number < 10 else f"pool/{number % 100:02d}")
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{number:06d}.{'png' if form == 'png' else 'jpg'}"
        path.write_bytes(content if form == "jpeg" else _again(content, form))
    settings = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    settings["sources"] = {"own": {"kind": "folder", "path": "source"}}
    (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder.resolve()


def count_files() -> int:
    """How many files the source of this project has."""
    return sum(len(names) for _, _, names in os.walk("source"))


def ingest() -> float:
    """Seconds of the stage, from nothing to published artefacts."""
    shutil.rmtree("data", ignore_errors=True)
    shutil.rmtree(".work", ignore_errors=True)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        start = time.perf_counter()
        code = stage.main("ingest", "own")
        seconds = time.perf_counter() - start
    assert code == 0, said.getvalue()
    return seconds


def ingest_jobs() -> Jobs:
    """The stage beside the bare loop."""
    chunks = np.array_split(np.array(all_files()), 4 * CORES)

    def bare(kind: str) -> float:
        pool: Executor = ThreadPoolExecutor(CORES)
        if kind == "processes":
            pool = ProcessPoolExecutor(CORES, mp_context=get_context("forkserver"))
        with pool:
            list(pool.map(_read_hash_decode, [[]] * 2 * CORES))  # the pool's start is not the loop's work
            start = time.perf_counter()
            list(pool.map(_read_hash_decode, [chunk.tolist() for chunk in chunks]))
            return time.perf_counter() - start

    return {
        "ingest": ingest,
        "bare loop, threads": lambda: bare("threads"),
        "bare loop, processes": lambda: bare("processes"),
    }


def all_files() -> list[str]:
    """The source's files in order."""
    return sorted(str(path) for path in Path("source").rglob("*.*g"))


def _read_hash_decode(paths: list[str]) -> None:
    for path in paths:
        content = Path(path).read_bytes()
        hashlib.sha256(content).hexdigest()
        with Image.open(io.BytesIO(content)) as image:
            image.load()


def measure_label(case: Case, repeats: int) -> list[dict[str, Any]]:
    """All ways to bring the case's images through its net."""
    table = files.read_table(files.catalog("own") / "images.parquet")
    ids, paths = table["image_id"].to_pylist()[: case.limit], table["path"].to_pylist()[: case.limit]
    on_disk = [Path("source", path).resolve() for path in paths]
    image_NCHW = Images(files.IMAGES).load(ids, case.form)

    def bare() -> float:
        start = time.perf_counter()
        predict(case.net, image_NCHW, case.batch)
        return time.perf_counter() - start

    def first() -> float:
        shutil.rmtree(cache.HOME, ignore_errors=True)
        return label(case, ids)

    jobs: Jobs = {"bare net": bare, "label, first pass": first, "label, cached": lambda: label(case, ids)}
    for workers in (0, 1, 2):
        jobs[f"DataLoader, {workers} workers"] = lambda workers=workers: data_loader(case, on_disk, workers)
    jobs["FiftyOne apply_model"] = lambda: fiftyone(case, on_disk)
    jobs["decoding alone"] = lambda: decoding(case, on_disk)
    predict(case.net, image_NCHW[: 2 * case.batch], case.batch)
    seconds = measure(jobs, repeats, case.name)
    rows = rows_of(case.name, seconds, len(ids), "bare net")
    rate = {row["name"].removeprefix(f"{case.name}: "): row["value"] for row in rows}
    bound = 1 / (1 + rate["bare net"] / rate["decoding alone"])
    peer = max((name for name in rate if name.startswith("DataLoader")), key=rate.__getitem__)
    for name in ("label, first pass", "label, cached"):
        rows += [_row(case.name, name, against, seconds, len(ids)) for against in (peer, "FiftyOne apply_model")]
    bound_row = {"name": f"{case.name}: bound of a first pass", "metric": "share_of_bare", "value": bound, "std": 0.0}
    return [*rows, bound_row | {"n": repeats, "unit": "share"}]


def measure(jobs: Jobs, repeats: int, name: str) -> dict[str, list[float]]:
    """Seconds of each job; the repeats go round all jobs, to and fro, after one round that is not kept."""
    seconds: dict[str, list[float]] = {job: [] for job in jobs}
    for repeat in range(repeats + (repeats > 1)):
        order = list(jobs) if repeat % 2 == 0 else [*jobs][::-1]
        if "label, cached" in order and order.index("label, cached") < order.index("label, first pass"):
            jobs["label, first pass"]()  # fills the cache
        for job in order:
            seconds[job].append(jobs[job]())
            say(f"{name}: {job} {seconds[job][-1]:.2f} s (round {repeat + 1})")
    return {job: values[1:] if repeats > 1 else values for job, values in seconds.items()}


def rows_of(name: str, seconds: dict[str, list[float]], images: int, against: str) -> list[dict[str, Any]]:
    """A row for each job; the ratio is against the fastest whose name begins with `against`."""
    best = min((job for job in seconds if job.startswith(against)), key=lambda job: statistics.median(seconds[job]))
    return [_row(name, job, best, seconds, images) for job in seconds]


def _row(name: str, job: str, against: str, seconds: dict[str, list[float]], images: int) -> dict[str, Any]:
    rates, base = [images / s for s in seconds[job]], [images / s for s in seconds[against]]
    row = {"name": f"{name}: {job}", "metric": "images_per_s", "value": statistics.median(rates), "unit": "images/s"}
    row |= {"std": statistics.pstdev(rates), "n": len(rates), "against": f"{name}: {against}"}
    return row | {"ratio": statistics.median(mine / other for mine, other in zip(rates, base, strict=True))}


def print_table(rows: list[dict[str, Any]], threads: int, seconds: float) -> None:
    """The rows for a person."""
    width = max(len(row["name"]) for row in rows)
    print(f"\n| {'what':{width}} | images/s | ratio | against |\n|{'-' * (width + 2)}|---------:|------:|---|")
    for row in rows:
        if "ratio" in row:
            against = row["against"].split(": ")[-1]
            print(f"| {row['name']:{width}} | {row['value']:8,.0f} | {row['ratio']:5.2f} | {against} |")
        else:
            print(f"| {row['name']:{width}} |          | {row['value']:5.2f} | bare net |")
    names = ("torch", "torchvision", "fiftyone", "pillow", "opencv-python-headless", "pyarrow")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"\n{seconds:.0f} s on {CORES} cores, torch with {threads} threads; {versions}")


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # FiftyOne's and mongod's; our own are errors in the tests
    main()
