"""What a run brought: read from the small files in data/metrics, shown in the terminal and in Prefect."""

import json
import re
from pathlib import Path
from typing import Any

from tasks import yaml_file
from tasks.errors import Integrity
from tasks.params import PARAMS_FILE

METRICS = Path("data/metrics")
REPORT = Path("data/report/report.html")
NETS = {"teacher": "teacher", "student": "student", "baseline": "supervised only"}
TITLES = {"accuracy": "accuracy on the sealed test (95 % interval)", "labels": "the pool's images, by reason"}

Row = dict[str, Any]


def tables(root: Path) -> dict[str, list[Row]]:
    """Two tables with a row a round: `accuracy` of the nets on the sealed test, and what became of the pool, `labels`.

    A number that nobody has written yet is missing from its row; a row or table without any is missing itself.
    """
    keys = rounds(root)
    found = {
        "accuracy": {key: _accuracy(_read(root, f"evaluate-{key}")) for key in keys},
        "labels": {key: _labels(_read(root, f"curate-{key}"), _read(root, f"evaluate-{key}")) for key in keys},
    }
    filled = {name: [{"round": key} | row for key, row in rows.items() if row] for name, rows in found.items()}
    return {name: rows for name, rows in filled.items() if rows}


def report_in_words(root: Path) -> str:
    """The report's verdict and where the report lies, as Markdown for the run's page; empty where there is none.

    Browsers follow no link from a served page to a file, so the path to open stands there as text too.
    """
    report = root / REPORT
    if not report.is_file():
        return ""
    headline = _read(root, "report").get("headline")
    place = f"[{REPORT}]({report.as_uri()})\n\n`{report}`\n\nA file on the machine that ran the stages."
    return f"**{headline}**\n\n{place}" if headline else place


def next_steps(root: Path) -> list[str]:
    """Where to look after a run."""
    report = [f"{REPORT}  (the whole story, in a browser)"] if (root / REPORT).is_file() else []
    last = rounds(root)[-1:] or ["r1"]
    return [
        *report,
        "dvc metrics show, dvc metrics diff  (the numbers, and what changed)",
        "dvc plots show  (curves)",
        f"understudy review --round {last[0]}  (look at the labels and correct them)",
        "make ui  (runs in the browser)",
    ]


def rounds(root: Path) -> list[str]:
    """The rounds there are numbers of, without those that were taken out of the settings: their files stay."""
    names = [found[1] for p in (root / METRICS).glob("*.json") if (found := re.search(r"-(r\d+)\.json$", p.name))]
    path = root / PARAMS_FILE
    known = yaml_file.read(path).get("rounds") if path.is_file() else names
    return sorted(set(names) & set(known or names), key=lambda name: int(name[1:]))


def _accuracy(evaluated: Row) -> Row:
    test = evaluated.get("test") or {}
    row = {name: _interval(test[net]) for net, name in NETS.items() if net in test}
    return row | ({"images": test["n"]} if "n" in test else {})


def _labels(curated: Row, evaluated: Row) -> Row:
    known = evaluated.get("labels") or {}
    shares = {"of the pool": known.get("coverage"), "right": known.get("precision")}
    reasons = {name.replace("_", " "): count for name, count in curated.get("reasons", {}).items()}
    return reasons | {name: f"{s:.1%}" for name, s in shares.items() if s is not None}


def _interval(measured: dict[str, float]) -> str:
    """`0.955 (0.930-0.971)`: accuracy and its interval, where there is one."""
    text = f"{measured['accuracy']:.3f}"
    return f"{text} ({measured['low']:.3f}-{measured['high']:.3f})" if {"low", "high"} <= measured.keys() else text


def _read(root: Path, name: str) -> dict[str, Any]:
    path = root / METRICS / f"{name}.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise Integrity("damaged_metrics", f"{path} is not JSON", "run `dvc repro`: it is written again") from None
    return value if isinstance(value, dict) else {}


def preview_table(rows: list[Row]) -> list[Row]:
    """The rows of tasks.preview as text; the threshold (or target) in params.yaml has an arrow."""

    def text(row: Row) -> Row:
        name = "target" if "target" in row else "threshold"
        shown = {
            name: f"{'→ ' if row['chosen'] else ''}{row[name]:g}",
            "confident": f"{row['confident']:,}",
            "kept": f"{row['kept']:,}",
            "of the pool": f"{row['share']:.1%}",
            "with copies": f"{row['shown']:,}",
            "smallest class": f"{row['smallest']:,}",
            "largest class": f"{row['largest']:,}",
        }
        if "promised" in row:
            shown["classes promised"] = f"{row['promised']:,}"
        if "judged" in row:
            right = "-" if row["precision"] is None else f"{row['precision']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
            shown |= {"precision": right, "judged on": f"{row['judged']:,}"}
        return shown

    return [text(row) for row in rows]
