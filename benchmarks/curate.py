"""Filter and balance a prediction table that is larger than memory: ours beside a DuckDB window query and pandas.

    python benchmarks/curate.py [--rows 300000000] [--quick] [--json FILE] [--dir FOLDER] [--threads 2]

A table of (id, best of 1,000 classes, confidence) is written to Parquet; every contender reads it, keeps what reaches
0.5, takes the most confident `rows / 1000 / 2` of each class (ties by id), duplicates classes with fewer up to four
times, and writes id, class and copies to Parquet. The functions timed are those that stage `curate` decides with. The
peers run on the first 20 million rows, ours on these and then on all rows; on these rows all three results are compared
row by row. Every contender runs in a process of its own and its peak memory (RSS) is reported; the run fails when ours
needs more than 4 GB. Rows per core-second (user and system time of the process) tell more than the clock on a busy
machine.
"""

import argparse
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core import curation

CLASSES, THRESHOLD, MAX_COPIES = 1000, 0.5, 4
PART, GROUP, PEER_ROWS = 10_000_000, 1_000_000, 20_000_000
LIMIT = 4e9  # bytes
SCHEMA = pa.schema([pa.field("id", pa.int64()), pa.field("label", pa.int16()), pa.field("confidence", pa.float32())])
Run = tuple[float, float, float, Path]  # seconds, core-seconds, peak bytes, what was written
RESULT = pa.schema([pa.field("id", pa.int64()), pa.field("label", pa.int16()), pa.field("copies", pa.int32())])


def main() -> None:
    """Make the table, run everybody, print and store the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=300_000_000)
    parser.add_argument("--quick", action="store_true", help="2 million rows, one repeat")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--dir", type=Path, help="where the table is written for the time of the run; 14 bytes a row")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    total, repeats = (2_000_000, 1) if args.quick else (args.rows, 3)
    folder = Path(tempfile.mkdtemp(prefix="understudy-curate-", dir=args.dir))
    try:
        few, everything = min(PEER_ROWS, total), folder / "all"
        make_table(everything, total)
        first = folder / "first"
        first.mkdir()
        for path in sorted(everything.iterdir())[: -(-few // PART)]:
            (first / path.name).hardlink_to(path)
        contenders = {"understudy": ours, "DuckDB window query": duckdb_query, "pandas": pandas_frame}
        runs = {
            name: [measure(run, first, few, args.threads) for _ in range(repeats)] for name, run in contenders.items()
        }
        refuse_differences([runs[name][0][-1] for name in contenders])
        if total > few:
            runs["understudy, all rows"] = [measure(ours, everything, total, args.threads)]
        rows = report(runs, few, total, args.threads)
    finally:
        shutil.rmtree(folder)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    peak = max(run[2] for name, found in runs.items() if name.startswith("understudy") for run in found)
    if peak > LIMIT:
        sys.exit(f"understudy took {peak / 1e9:.2f} GB, the limit is {LIMIT / 1e9:.0f} GB")


def make_table(folder: Path, total: int) -> None:
    """Skewed classes, confidences with many ties (one in ten is exactly 1.0), ids in order."""
    folder.mkdir()
    for index, start in enumerate(range(0, total, PART)):
        with pq.ParquetWriter(
            folder / f"part-{index:05d}.parquet", SCHEMA, compression="none", use_dictionary=False
        ) as out:
            for group in range(start, min(start + PART, total), GROUP):
                rows = min(GROUP, total - group)
                rng = np.random.default_rng([0, group])
                label = (CLASSES * rng.random(rows, dtype=np.float32) ** 1.5).astype(np.int16).clip(0, CLASSES - 1)
                confidence = (
                    (1 / CLASSES + rng.random(rows, dtype=np.float32) ** 0.4 * 1.1).astype(np.float32).clip(0, 1)
                )
                out.write_table(pa.table([np.arange(group, group + rows), label, confidence], schema=SCHEMA))
        print(f"{min(start + PART, total):,} of {total:,} rows written", file=sys.stderr, flush=True)


def ours(folder: Path, total: int, threads: int, out: Path) -> None:
    """Columns into memory, the decision, then ids past it in blocks: the steps of stage `curate`."""
    label_N, key_N = np.empty(total, np.int16), np.empty(total, np.int32)
    groups = list(_groups(folder))

    def load(work: tuple[int, Path, int]) -> None:
        first, path, group = work
        table = pq.ParquetFile(path).read_row_group(group, ["label", "confidence"], use_threads=False)
        rows = slice(first, first + table.num_rows)
        label_N[rows] = table["label"].to_numpy()
        key_N[rows] = table["confidence"].to_numpy().view(np.int32)

    def ids(work: tuple[int, Path, int]) -> tuple[int, np.ndarray]:
        first, path, group = work
        return first, pq.ParquetFile(path).read_row_group(group, ["id"], use_threads=False)["id"].to_numpy()

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(load, groups):
            pass
        plan = curation.decide(
            label_N,
            key_N,
            np.empty(0, np.int16),
            curation.Mean.of(np.empty((0, CLASSES), np.float32)),
            CLASSES,
            threshold=THRESHOLD,
            adaptive="none",
            source_cap=None,
            per_class=_wanted(total),
            max_copies=MAX_COPIES,
            threads=threads,
        )
        dealer = curation.Dealer(plan)
        with pq.ParquetWriter(out, RESULT, compression="none", use_dictionary=False) as writer:
            for start in range(0, len(groups), 2 * threads):
                for first, id_B in pool.map(ids, groups[start : start + 2 * threads]):
                    rows = slice(first, first + len(id_B))
                    copies_B, _ = dealer.deal(label_N[rows], key_N[rows])
                    kept_K = np.flatnonzero(copies_B)
                    columns = [id_B[kept_K], label_N[rows][kept_K], copies_B[kept_K]]
                    writer.write_table(pa.table(columns, schema=RESULT))


def duckdb_query(folder: Path, total: int, threads: int, out: Path) -> None:
    """One window query, 4 GB of memory."""
    import duckdb

    wanted = _wanted(total)
    base = duckdb.connect()
    base.execute(f"SET threads = {threads}; SET memory_limit = '4GB'; SET temp_directory = '{folder.parent / 'spill'}'")
    base.execute(
        f"""
        COPY (
            WITH ranked AS (
                SELECT id, label,
                    row_number() OVER (PARTITION BY label ORDER BY confidence DESC, id) - 1 AS place,
                    least(count(*) OVER (PARTITION BY label), {wanted}) AS kept
                FROM read_parquet('{folder}/*.parquet') WHERE confidence >= {THRESHOLD}
            ), counted AS (SELECT *, least({wanted}, kept * {MAX_COPIES}) AS shown FROM ranked WHERE place < kept)
            SELECT id, label, (shown // kept + (place < shown % kept)::INTEGER)::INTEGER AS copies FROM counted
        ) TO '{out}' (FORMAT parquet, COMPRESSION uncompressed)
    """  # noqa: S608  # numbers and paths of this script
    )


def pandas_frame(folder: Path, total: int, threads: int, out: Path) -> None:
    """Everything in memory: a sort and cumcount."""
    import pandas as pd

    wanted = _wanted(total)
    frame = pd.read_parquet(folder)
    frame = frame[frame["confidence"] >= THRESHOLD]
    frame = frame.sort_values(["label", "confidence"], ascending=[True, False], kind="stable")
    by_class = frame.groupby("label")
    place = by_class.cumcount()
    kept = by_class["id"].transform("size").clip(upper=wanted)
    shown = (kept * MAX_COPIES).clip(upper=wanted)
    frame["copies"] = (shown // kept + (place < shown % kept)).astype("int32")
    frame.loc[place < kept, ["id", "label", "copies"]].to_parquet(out, compression=None, index=False)


def measure(run: Callable[..., None], folder: Path, total: int, threads: int) -> Run:
    """One run in a fresh process."""
    out = folder.parent / f"{run.__name__}-{total}.parquet"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        seconds, cores, peak = process.submit(_measured, run, folder, total, threads, out).result()
    print(f"{run.__name__}: {total:,} rows in {seconds:.1f} s, peak {peak / 1e9:.2f} GB", file=sys.stderr, flush=True)
    return seconds, cores, peak, out


def refuse_differences(results: list[Path]) -> None:
    """Every contender kept the same images, the same number of times."""
    first, *others = (pq.read_table(path, columns=["id", "label", "copies"]).sort_by("id") for path in results)
    for path, other in zip(results[1:], others, strict=True):
        if not other.cast(first.schema).equals(first):
            sys.exit(f"{path.stem} differs from {results[0].stem}")
    print(f"all {len(results)} results are equal: {first.num_rows:,} rows", file=sys.stderr)


def report(runs: dict[str, list[Run]], few: int, total: int, threads: int) -> list[dict[str, Any]]:
    """Print the table; rows for --json. Ratios are against DuckDB on the first rows, in this run."""
    against = "DuckDB window query"
    head = f"{len(runs[against])} runs each, medians, {threads} threads"
    print(f"\nFilter and balance {few:,} rows (all rows: {total:,}), {CLASSES:,} classes; {head}\n")
    print(f"| {'':22} | million rows/s | against DuckDB | million rows/core-second | against DuckDB | peak memory |")
    print("|".join(["", *("-" * width for width in (24, 16, 16, 26, 16, 13)), ""]))
    rates: dict[tuple[str, str], list[float]] = {}
    for name, found in runs.items():
        millions = (total if name.endswith("all rows") else few) / 1e6
        rates["million rows/s", name] = [millions / seconds for seconds, *_ in found]
        rates["million rows/core-second", name] = [millions / cores for _, cores, *_ in found]
    rows = []
    for name, found in runs.items():
        line = f"| {name:22} |"
        for unit, widths in (("million rows/s", (14, 14)), ("million rows/core-second", (24, 14))):
            rate = statistics.median(rates[unit, name])
            ratio = rate / statistics.median(rates[unit, against])
            std = statistics.stdev(rates[unit, name]) if len(found) > 1 else 0.0
            row = {"name": f"curate: {name}", "metric": "throughput", "value": rate, "std": std, "n": len(found)}
            rows.append(row | {"unit": unit, "against": f"curate: {against}", "ratio": ratio})
            line += f" {rate:{widths[0]}.2f} | {ratio:{widths[1]}.2f} |"
        peak = max(run[2] for run in found) / 1e9
        row = {"name": f"curate: {name}", "metric": "peak_memory", "value": peak, "std": 0.0, "n": len(found)}
        rows.append(row | {"unit": "GB", "against": None, "ratio": None})
        print(f"{line} {peak:8.2f} GB |")
    print("\n" + ", ".join(f"{name} {version(name)}" for name in ("numpy", "pyarrow", "duckdb", "pandas")))
    return rows


def _measured(
    run: Callable[..., None], folder: Path, total: int, threads: int, out: Path
) -> tuple[float, float, float]:
    pa.set_cpu_count(threads)
    began, before = time.perf_counter(), time.process_time()
    run(folder, total, threads, out)
    seconds, cores = time.perf_counter() - began, time.process_time() - before
    return seconds, cores, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def _groups(folder: Path) -> Iterator[tuple[int, Path, int]]:
    """First row, file and number of every row group."""
    first = 0
    for path in sorted(folder.glob("*.parquet")):
        found = pq.read_metadata(path)
        for group in range(found.num_row_groups):
            yield first, path, group
            first += found.row_group(group).num_rows


def _wanted(total: int) -> int:
    return max(total // CLASSES // 2, 1)


if __name__ == "__main__":
    main()
