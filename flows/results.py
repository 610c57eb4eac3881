"""What a run brought: read from the small files in data/metrics, shown in the terminal and in Prefect."""

import json
import re
from pathlib import Path
from typing import Any

from tasks.errors import Integrity

METRICS = Path("data/metrics")
REPORT = Path("data/report/report.html")
NETS = {"teacher": "teacher", "student": "student", "baseline": "supervised only"}

Row = dict[str, Any]


def rows(root: Path) -> list[Row]:
    """One row a round: accuracy of teacher, student and supervised-only net on the test, and what became of the pool.

    A number that nobody has written yet is missing from its row.
    """
    found = {key: _round(root, key) for key in _rounds(root)}
    return [{"round": key, **row} for key, row in found.items() if row]


def next_steps(root: Path) -> list[str]:
    """Where to look after a run."""
    report = [f"{REPORT}  (the whole story, in a browser)"] if (root / REPORT).is_file() else []
    last = [row["round"] for row in rows(root)][-1:] or ["r1"]
    return [
        *report,
        "dvc metrics show, dvc metrics diff  (the numbers, and what changed)",
        "dvc plots show  (curves)",
        f"understudy review --round {last[0]}  (look at the labels and correct them)",
        "make ui  (runs in the browser)",
    ]


def _rounds(root: Path) -> list[str]:
    names = [found[1] for p in (root / METRICS).glob("*.json") if (found := re.search(r"-(r\d+)\.json$", p.name))]
    return sorted(set(names), key=lambda name: int(name[1:]))


def _round(root: Path, key: str) -> Row:
    evaluated, curated = _read(root, f"evaluate-{key}"), _read(root, f"curate-{key}")
    test = evaluated.get("test") or {}
    row: Row = {name: _interval(test[net]) for net, name in NETS.items() if net in test}
    if "n" in test:
        row["test images"] = test["n"]
    return row | dict(curated.get("reasons", {}))


def _interval(measured: dict[str, float]) -> str:
    """`0.955 [0.930, 0.971]`: accuracy and its interval, where there is one."""
    text = f"{measured['accuracy']:.3f}"
    return f"{text} [{measured['low']:.3f}, {measured['high']:.3f}]" if {"low", "high"} <= measured.keys() else text


def _read(root: Path, name: str) -> dict[str, Any]:
    path = root / METRICS / f"{name}.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise Integrity("damaged_metrics", f"{path} is not JSON", "run `dvc repro`: it is written again") from None
    return value if isinstance(value, dict) else {}
