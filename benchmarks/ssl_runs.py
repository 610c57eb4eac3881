"""The commands of benchmarks/ssl.py: run rows, keep one JSON for each, print the table."""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks import ssl_nets, ssl_rows, ssl_table
from benchmarks.ssl_data import POOLS, material
from tasks import files

RESULTS = ssl_rows.ROOT / "benchmarks" / "results" / "ssl"
NETS = files.WORK / "ssl"


def main(about: str) -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run rows that have not finished")
    run.add_argument("--data", choices=sorted(ssl_rows.CHANGES), required=True)
    run.add_argument("--labels", type=int, required=True)
    run.add_argument("--row", choices=ssl_rows.ROWS, nargs="+", required=True)
    run.add_argument("--pool", choices=POOLS, default="even")
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    run.add_argument("--threads", type=int, default=1)
    run.add_argument("--cifar", type=Path, help="folder with CIFAR-10's train.parquet and test.parquet")
    commands.add_parser("table", help="Markdown of all that has finished")
    args = parser.parse_args()
    if args.command == "table":
        return print(ssl_table.markdown(finished(args.results)))
    torch.set_num_threads(args.threads)
    for row in args.row:
        for seed in args.seeds:
            one(args, row, seed)
    return None


def finished(results: Path) -> list[dict[str, Any]]:
    """All finished rows."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))]


def one(args: argparse.Namespace, row: str, seed: int) -> None:
    """Run a row of a seed, unless it has finished, and write its JSON."""
    name = f"{args.data}-{args.labels}-{args.pool}-{row}-{seed}.json"
    path = args.results / name
    if path.is_file():
        return
    where = {"data": args.data, "labels": args.labels, "pool": args.pool}
    result = chosen(args, where, seed) if row == "ours" else trained(args, where, row, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(where | {"row": row, "seed": seed} | result, indent=1) + "\n"
    path.with_suffix(".tmp").write_text(text, encoding="utf-8")
    path.with_suffix(".tmp").replace(path)
    print(f"{name}: validation {result['validation']:.4f}, test {result['test']:.4f}", file=sys.stderr, flush=True)


def trained(args: argparse.Namespace, where: dict[str, Any], row: str, seed: int) -> dict[str, Any]:
    """Train the nets of a row, then look at the test once."""
    start = ssl_rows.base(args.data)
    split = material(args.data, args.labels, args.pool, seed, start.image.size, args.cifar)
    pool = len(split.pool.label_N)
    chain = ssl_rows.chain(start, ssl_rows.ROUNDS)
    steps = ssl_nets.equal_steps(chain, ssl_rows.fixmatch(start, 1)[-1], start.image, pool)
    lessons = ssl_rows.lessons(row, start, steps)
    done = ssl_nets.follow(lessons, start, split, [*where.values(), seed], NETS)
    nets = [one.record | {"test": ssl_nets.score(one.net, split.test)} for one in done.values()]
    settings = [ssl_nets.described(lesson) for lesson in lessons]
    return {
        "settings_hash": files.digest([start.image.model_dump(), settings])[:16],
        "steps": nets[-1]["steps"],
        "images": sum(net["images"] for net in nets),
        "cpu_seconds": round(sum(net["cpu_seconds"] for net in nets), 1),
        "wall_seconds": round(sum(net["wall_seconds"] for net in nets), 1),
        "net": f"{nets[-1]['net']} x{nets[-1]['width']}",
        "parameters": nets[-1]["parameters"],
        "pool_images": pool,
        "validation": nets[-1]["validation"],
        "test": nets[-1]["test"],
        "nets": nets,
        "torch": torch.__version__,
        "threads": args.threads,
    }


def chosen(args: argparse.Namespace, where: dict[str, Any], seed: int) -> dict[str, Any]:
    """The candidate with the best mean accuracy on validation images over the seeds asked; its tests have no say."""
    means: dict[str, float] = {}
    found = {(r["row"], r["seed"]): r for r in finished(args.results) if where.items() <= r.items()}
    for row in ssl_rows.CANDIDATES:
        scores = [found[row, s]["validation"] for s in args.seeds if (row, s) in found]
        if len(scores) == len(args.seeds):
            means[row] = round(statistics.mean(scores), 5)
    if len(means) < 2:
        known = ", ".join(means) or "none"
        sys.exit(f"ours is chosen among {', '.join(ssl_rows.CANDIDATES)}; finished for seeds {args.seeds}: {known}")
    best = max(means, key=lambda row: means[row])
    taken = {key: value for key, value in found[best, seed].items() if key not in (*where, "row", "seed")}
    return taken | {"chosen": best, "validation_means": means}
