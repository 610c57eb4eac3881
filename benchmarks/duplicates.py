"""Planted copies of every kind, found or missed, and clean images flagged by mistake; and the speed of the search.

    python benchmarks/duplicates.py [--cifar FOLDER] [--copies 200] [--quick] [--json FILE] [--sheet FILE.png]

Copies are planted beside all images of a data set: the digits, made-up photographs of 160 to 320 pixels, and CIFAR-10
(JPEG) where --cifar names a folder with its train.parquet and test.parquet. "Flagged" counts clean images that were
paired with another clean image; real data holds real copies, so --sheet shows every such pair for a person to judge.
Exact copies have the same image_id and are no matter of search: tests/test_copies.py has them.
"""

import argparse
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from tasks.core.duplicates import CANDIDATE, Pairs, Prints, find, near
from tasks.core.fingerprints import DECODED, hashes, shrink
from tasks.images.decode import decode

Make = Callable[[Image.Image, np.random.Generator], bytes]
SMOOTH = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
DISTANCE = {"digits": 0.08, "photographs": 0.2, "CIFAR-10 (JPEG)": 0.2}


def main() -> None:
    """Print one line a data set and kind, then the search's speed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cifar", type=Path, help="folder with train.parquet and test.parquet")
    parser.add_argument("--copies", type=int, default=200, help="planted copies of each kind")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="the first one draws copies and hashes")
    parser.add_argument("--quick", action="store_true", help="5,000 images of CIFAR-10, 50,000 random hashes")
    parser.add_argument("--search", type=int, nargs="*", default=[60_000, 200_000], help="sizes of the timed search")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--sheet", type=Path, help="write the flagged clean pairs of the last data set as a picture")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, clean in _data_sets(args.cifar, args.quick):
        rows += _plant(name, clean, args.copies, args.seeds[0], args.sheet)
    for size in [50_000] if args.quick else args.search:
        rows.append(_search(size, args.seeds[0]))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _data_sets(cifar: Path | None, quick: bool) -> Iterator[tuple[str, list[bytes]]]:
    from sklearn.datasets import load_digits

    digits = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    yield "digits", [_saved(Image.fromarray(pixel), "PNG") for pixel in digits]
    yield "photographs", [_photograph(number) for number in range(300 if quick else 1000)]
    if cifar:
        tables = [pq.read_table(cifar / f"{name}.parquet", columns=["image"]) for name in ("test", "train")]
        contents = [row["bytes"] for table in tables for row in table["image"].to_pylist()]
        unique = list({hashlib.sha256(content).digest(): content for content in contents}.values())
        yield "CIFAR-10 (JPEG)", unique[:5000] if quick else unique


def _photograph(number: int) -> bytes:
    """Noise whose amplitude falls with its frequency, as in photographs, in colour, as JPEG of quality 92."""
    generator = np.random.default_rng([number, 1])
    height, width = generator.integers(160, 321, 2)
    rise = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    rise[0, 0] = np.inf
    channels = []
    shared = generator.standard_normal((height, width))
    for _ in range(3):
        noise = np.fft.fft2(shared + 0.4 * generator.standard_normal((height, width)))
        wave = np.fft.ifft2(noise / rise).real
        channels.append(np.clip(128 + 50 * wave / wave.std(), 0, 255).astype(np.uint8))
    return _saved(Image.fromarray(np.stack(channels, axis=2)), "JPEG", 92)


def _saved(image: Image.Image, format_: str, quality: int = 90) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, quality=quality)
    return stream.getvalue()


def _encoded(format_: str) -> Make:
    def make(image: Image.Image, generator: np.random.Generator) -> bytes:
        return _saved(image, format_, int(generator.integers(30, 96)))

    return make


def _resized(low: float, high: float, format_: str) -> Make:
    def make(image: Image.Image, generator: np.random.Generator) -> bytes:
        scale, how = generator.uniform(low, high), SMOOTH[int(generator.integers(len(SMOOTH)))]
        size = [max(round(side * scale), 1) for side in image.size]
        return _saved(image.resize((size[0], size[1]), how), format_)

    return make


def _mirrored(format_: str) -> Make:
    def make(image: Image.Image, generator: np.random.Generator) -> bytes:
        return _saved(ImageOps.mirror(image), format_, int(generator.integers(60, 96)))

    return make


KINDS: dict[str, Make] = {
    "JPEG 30 to 95": _encoded("JPEG"),
    "WebP 30 to 95": _encoded("WEBP"),
    "PNG": _encoded("PNG"),
    "resized 0.5 to 1": _resized(0.5, 1, "PNG"),
    "resized 1 to 2": _resized(1, 2, "PNG"),
    "resized 0.5 to 2, JPEG 90": _resized(0.5, 2, "JPEG"),
    "mirrored, PNG": _mirrored("PNG"),
    "mirrored, JPEG 60 to 95": _mirrored("JPEG"),
}


def _plant(name: str, clean: list[bytes], copies: int, seed: int, sheet: Path | None) -> list[dict[str, Any]]:
    """Rows of one data set: the rate found of each kind, and the share of clean images flagged."""
    generator = np.random.default_rng(seed)
    contents, original = list(clean), list(range(len(clean)))
    chosen: dict[str, range] = {}
    for kind, make in KINDS.items():
        picked = generator.choice(len(clean), min(copies, len(clean)), replace=False).tolist()
        images = [Image.open(io.BytesIO(clean[row])) for row in picked]
        chosen[kind] = range(len(contents), len(contents) + len(picked))
        contents += [make(i.convert("RGB") if i.mode != "L" else i, generator) for i in images]
        original += picked
    start = time.perf_counter()
    prints = _prints(contents)
    described = time.perf_counter()
    pairs = find(prints, DISTANCE[name])
    took = time.perf_counter() - described
    print(f"{name}: {len(contents):,} images, described in {described - start:.1f} s, searched in {took:.1f} s")
    linked = _linked(pairs, len(contents))
    rows = []
    for kind, span in chosen.items():
        rate = float(np.mean([linked[row] == linked[original[row]] for row in span]))
        rows.append(_row(name, kind, rate, len(span), "share found"))
    both = (pairs.first_P < len(clean)) & (pairs.second_P < len(clean))
    flagged = len(set(pairs.first_P[both]) | set(pairs.second_P[both]))
    rows.append(_row(name, "clean images flagged", flagged / len(clean), len(clean), "share"))
    print(f"  {flagged} of {len(clean):,} clean images are in {both.sum()} pairs")
    if sheet and both.any():
        _draw(contents, pairs, np.flatnonzero(both), sheet)
    return rows


def _linked(pairs: Pairs, count: int) -> list[int]:
    from tasks.core.duplicates import groups

    return groups(count, pairs.first_P, pairs.second_P).tolist()


def _prints(contents: list[bytes]) -> Prints:
    thumb_NHW = np.stack([shrink(decode(content, DECODED, 1, 255)[0]) for content in contents])
    sides = [min(Image.open(io.BytesIO(content)).size) for content in contents]
    return Prints(*hashes(thumb_NHW), thumb_NHW, np.array(sides))


def _row(name: str, metric: str, value: float, n: int, unit: str) -> dict[str, Any]:
    print(f"  {metric:28s} {value:8.4f}  n = {n}")
    return {"name": name, "metric": metric, "value": value, "std": None, "n": n, "unit": unit}


def _search(size: int, seed: int) -> dict[str, Any]:
    """Seconds to compare all with all, one direction, on random hashes of 32 set bits, as pHash makes them."""
    order = np.random.default_rng(seed).random((size, 64)).argsort(axis=1) < 32
    hash_N = np.packbits(order, axis=1).view(">u8").ravel().astype(np.uint64)
    wall, cpu = time.perf_counter(), time.process_time()
    found = sum(len(first) for first, _ in near(hash_N, hash_N, CANDIDATE))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"search of {size:,} hashes: {wall:.1f} s ({cpu:.1f} s of processor time), {found} pairs")
    return {"name": "search", "metric": f"{size} hashes", "value": wall, "std": None, "n": 1, "unit": "s"}


def _draw(contents: list[bytes], pairs: Pairs, rows: np.ndarray, path: Path) -> None:
    """Both images of each pair side by side, the second one turned where it is mirrored; 12 pairs a line."""
    side, line = 64, 12
    sheet = Image.new("RGB", (line * (2 * side + 16), -(-len(rows) // line) * (side + 8)), "white")
    for place, row in enumerate(rows):
        left, top = place % line * (2 * side + 16), place // line * (side + 8)
        for step, end in enumerate((pairs.first_P, pairs.second_P)):
            image = Image.open(io.BytesIO(contents[end[row]])).convert("RGB")
            image = ImageOps.mirror(image) if step and pairs.mirrored_P[row] else image
            sheet.paste(image.resize((side, side)), (left + step * side, top))
    sheet.save(path)


if __name__ == "__main__":
    main()
