"""What Prefect adds to DVC: `understudy run` against `dvc repro`, in pairs, on chains of stages that do nothing.

    python benchmarks/overhead.py [--stages 2 12] [--pairs 3] [--quick] [--json FILE]
    python benchmarks/overhead.py --digits [--pairs 3] [--steps 8]

With --digits the pairs run this project's own pipeline on the handwritten digits, its nets trained for a few steps: the
flow runs independent stages side by side, so that it may well be the faster one. Each pair runs both on fresh copies of
one project, each first in turn; a Prefect server runs already, as `understudy ui` starts it. A chain has no branches
that could run side by side, so what is measured is work, not luck.
Two lengths of a chain tell what a stage costs from what a run costs. Processor time is that of the command and its
children; the server's stands beside it. Wall time means little while others use the machine: then read processor time.
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
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import yaml

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parent.parent
LIMITS = {"a stage": 2.0, "a run": 10.0}  # seconds: what issue 5 allows
COMMANDS = {"dvc repro": [str(BIN / "dvc"), "repro"], "understudy run": [str(BIN / "understudy"), "run"]}
Took = dict[str, float]  # wall, cpu, server: seconds


def main() -> None:
    """Run the pairs that were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stages", type=int, nargs=2, default=[2, 12], help="lengths of the two chains")
    parser.add_argument("--pairs", type=int, default=3, help="of each length")
    parser.add_argument("--quick", action="store_true", help="one pair of 1 and 4 stages")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--digits", action="store_true", help="the project's own stages instead")
    parser.add_argument("--steps", type=int, default=8, help="with --digits: how long each net is trained")
    args = parser.parse_args()
    if args.digits:
        digits(args.pairs, args.steps, args.json)
    else:
        chains(args)


def chains(args: argparse.Namespace) -> None:
    """Print what a stage and what a run costs more."""
    lengths, pairs = ([1, 4], 1) if args.quick else (args.stages, args.pairs)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        env = _environment(folder)
        server = _server(folder, env, stack)
        projects = {n: _project(folder / f"chain{n}", n, env) for n in lengths}
        _run(projects[lengths[0]], folder, "understudy run", env, server)  # bytecode, caches of the disk
        added: dict[int, list[Took]] = {n: [] for n in lengths}
        for i in range(pairs):
            for n, project in projects.items():
                order = list(COMMANDS) if i % 2 == 0 else list(reversed(COMMANDS))
                took = {name: _run(project, folder, name, env, server) for name in order}
                added[n].append({k: took["understudy run"][k] - took["dvc repro"][k] for k in took["dvc repro"]})
                print(f"{n} stages:", *(f"{name} {t['wall']:.1f} s ({t['cpu']:.1f})" for name, t in took.items()))
    rows = _rows(added, lengths, pairs)
    for row in rows:
        print(f"{row['name']:9s} {row['metric']:8s} {row['value']:6.2f} s added" + _limit(row))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def digits(pairs: int, steps: int, json_file: Path | None) -> None:
    """Print what each pair took on the digits, and what the flow added."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        env = _environment(folder)
        server = _server(folder, env, stack)
        project = _digits(folder / "digits", steps, env)
        listed = subprocess.run(
            [str(BIN / "dvc"), "stage", "list", "--name-only"], cwd=project, env=env, capture_output=True, check=True
        )
        stages = len(listed.stdout.split())
        added: list[Took] = []
        for i in range(pairs):
            order = list(COMMANDS) if i % 2 == 0 else list(reversed(COMMANDS))
            took = {name: _run(project, folder, name, env, server) for name in order}
            added.append({k: took["understudy run"][k] - took["dvc repro"][k] for k in took["dvc repro"]})
            print(f"{stages} stages:", *(f"{name} {t['wall']:.1f} s ({t['cpu']:.1f})" for name, t in took.items()))
    rows = []
    for kind in ("wall", "cpu", "server"):
        value = statistics.median(took[kind] for took in added)
        rows.append({"name": "digits", "metric": kind, "value": value, "std": None, "n": pairs, "unit": "s"})
    for row in rows:
        limit = LIMITS["a run"] + stages * LIMITS["a stage"]
        print(f"{row['name']:9s} {row['metric']:8s} {row['value']:6.2f} s added to {stages} stages (at most {limit:g})")
    if json_file:
        json_file.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _rows(added: dict[int, list[Took]], lengths: list[int], pairs: int) -> list[dict[str, Any]]:
    """The slope and what is left at no stage, of medians over the pairs."""
    rows = []
    for kind in ("wall", "cpu", "server"):
        short, long = (statistics.median(took[kind] for took in added[n]) for n in lengths)
        each = (long - short) / (lengths[1] - lengths[0])
        for name, value in (("a stage", each), ("a run", short - each * lengths[0])):
            rows.append({"name": name, "metric": kind, "value": value, "std": None, "n": pairs, "unit": "s"})
    return rows


def _limit(row: dict[str, Any]) -> str:
    return f" (at most {LIMITS[row['name']]:g})" if row["metric"] == "wall" else ""


def _run(project: Path, folder: Path, command: str, env: dict[str, str], server: psutil.Process) -> Took:
    """Seconds of one command on a fresh copy."""
    copy = folder / "copy"
    shutil.copytree(project, copy, symlinks=True)
    before, served, start = resource.getrusage(resource.RUSAGE_CHILDREN), _cpu(server), time.perf_counter()
    done = subprocess.run(COMMANDS[command], cwd=copy, env=env, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    shutil.rmtree(copy)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu, "server": _cpu(server) - served}


def _cpu(server: psutil.Process) -> float:
    return sum(sum(p.cpu_times()[:2]) for p in [server, *server.children(recursive=True)])


def _environment(folder: Path) -> dict[str, str]:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    own = {"PREFECT_HOME": str(folder / "prefect"), "DVC_SITE_CACHE_DIR": str(folder / "dvc"), "DVC_NO_ANALYTICS": "1"}
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **own}


def _server(folder: Path, env: dict[str, str], stack: ExitStack) -> psutil.Process:
    """The pages, as `understudy ui` opens them."""
    command = [str(BIN / "understudy"), "ui", "--port", "4291"]
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    assert process.stdout is not None
    if not process.stdout.readline().startswith("Prefect: "):
        sys.exit("no server")
    return psutil.Process(process.pid)


def _project(folder: Path, n: int, env: dict[str, str]) -> Path:
    """A chain of n stages, each of which writes a byte."""
    folder.mkdir()
    stages = {
        f"s{i}": {"cmd": f"printf {i} > s{i}.out", "outs": [f"s{i}.out"]} | ({"deps": [f"s{i - 1}.out"]} if i else {})
        for i in range(n)
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    shutil.copy(ROOT / "params.yaml", folder)
    subprocess.run([str(BIN / "dvc"), "init", "-q", "--no-scm"], cwd=folder, env=env, check=True)
    return folder


def _digits(folder: Path, steps: int, env: dict[str, str]) -> Path:
    """This project on the digits, its nets trained for so many steps, and nothing held: they have learnt nothing."""
    folder.mkdir()
    shutil.copytree(ROOT / "tasks", folder / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("decisions", "start"):
        shutil.copytree(ROOT / "data" / name, folder / "data" / name)
    (folder / "data/distilled").mkdir()
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "data/distilled/README.md"):
        shutil.copy(ROOT / name, folder / name)
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["train"] |= {"warmup": 2, "checkpoint_every": steps}
    raw["split"] |= {"calib": 0, "gate": 0}
    raw["hold"] |= {"starvation": False, "min_classes": 0.0}
    for net in (raw["teacher"], raw["baseline"], *(entry["student"] for entry in raw["rounds"].values())):
        net["steps"] = steps
    for entry in raw["rounds"].values():
        entry["curate"] |= {"threshold": 0.0, "target_precision": None, "max_share": 1.0}
    (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    subprocess.run(["git", "init", "-q"], cwd=folder, env=env, check=True)
    subprocess.run([str(BIN / "dvc"), "init", "-q"], cwd=folder, env=env, check=True)
    return folder


if __name__ == "__main__":
    main()
