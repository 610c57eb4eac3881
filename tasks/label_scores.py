"""How good a round's labels are, for `evaluate`: precision, precision over coverage, and what changed since the round
before. Truth comes from what is sealed, or from labeled images that the teacher did not learn from."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks import files
from tasks.core.compare import exact_low
from tasks.core.coverage import precision_coverage
from tasks.core.metrics import Floats

DIGITS = 6
POINT = ("coverage", "confidence", "precision", "low", "high", "n")
FLOW = ("before", "after", "n", "known", "right")  # blank label: not learnt from
CHANGES = ("kept", "changed", "gained", "lost", "never")


def judged(table: pd.DataFrame, truth: dict[str, str]) -> pd.DataFrame:
    """The labels learnt from; `right` is null where the truth is not known."""
    learnt = table[table["copies"] > 0]
    true = learnt["image_id"].map(truth)
    return learnt.assign(right=(learnt["label"] == true).where(true.notna()))


def summary(pool: int, of: pd.DataFrame) -> dict[str, Any]:
    """How much of the pool was learnt from, and how right those labels are where the truth is known."""
    right, known = int(of["right"].sum()), int(of["right"].count())
    return {
        "pool": pool,
        "kept": len(of),
        "human": int((of["source"] == "human").sum()),
        "coverage": round(len(of) / pool, DIGITS) if pool else None,
        "precision": round(right / known, DIGITS) if known else None,
        "precision_low": round(exact_low(right, known), DIGITS) if known else None,
        "precision_n": known,
    }


def write_coverage(out: Path, table: pd.DataFrame, truth: dict[str, str], held: tuple[Floats, np.ndarray]) -> None:
    """coverage.csv: the teacher's labels of the pool against the hidden truth, learnt or not, people's left out.

    coverage_held.csv: the same of what the teacher said of labeled images that it did not learn from, `held`, read as
    the label table reads its pool: there no hidden truth is needed. Both are empty but for their header where nothing
    is known.
    """
    by_teacher = table[table["source"].str.startswith("teacher").fillna(False).astype(bool) & table["label"].notna()]
    true = by_teacher["image_id"].map(truth)
    known = by_teacher[true.notna()]
    right_N = (known["label"] == true[true.notna()]).to_numpy(dtype=bool)
    _write_points(out / "coverage.csv", known["confidence"].to_numpy(np.float64), right_N)
    prob_NC, truth_N = held
    _write_points(out / "coverage_held.csv", prob_NC.max(axis=1, initial=0), prob_NC.argmax(axis=1) == truth_N)


def _write_points(path: Path, confidence_N: np.ndarray, right_N: np.ndarray) -> None:
    points = precision_coverage(confidence_N, right_N)
    write_csv(path, POINT, ((*(round(value, DIGITS) for value in point[:-1]), point[-1]) for point in points))


def write_flow(out: Path, before: pd.DataFrame, after: pd.DataFrame, truth: dict[str, str]) -> dict[str, int]:
    """flow.csv: images by their label in the round before and in this one; changes.csv: the same in five words.

    An image that the round before did not know was not learnt from there. Returns the five counts, which add up to the
    pool (C7).
    """
    was = before.loc[before["copies"] > 0].set_index("image_id")["label"]
    now = after["label"].where(after["copies"] > 0)
    true = after["image_id"].map(truth)
    frame = pd.DataFrame({"before": after["image_id"].map(was), "after": now, "known": true.notna()})
    frame["right"] = frame["known"] & (now == true)
    frame = frame.fillna({"before": "", "after": ""})
    counts = frame.groupby(["before", "after"]).agg(n=("known", "size"), known=("known", "sum"), right=("right", "sum"))
    rows = [(old, new, n, known, right) for old, new, n, known, right in counts.reset_index().to_numpy().tolist()]
    write_csv(out / "flow.csv", FLOW, rows)
    changes = dict.fromkeys(CHANGES, 0)
    for old, new, n, *_ in rows:
        changes[_change(old, new)] += n
    if sum(changes.values()) != len(after):
        raise AssertionError(f"{len(after)} pool images, flow {changes}")
    write_csv(out / "changes.csv", ("change", "n"), changes.items())
    return changes


def _change(old: str, new: str) -> str:
    if old and new:
        return "kept" if old == new else "changed"
    return "gained" if new else "lost" if old else "never"


def write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    """A CSV file as `dvc plots` reads it."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_labels(path: Path) -> pd.DataFrame:
    """A label table without its soft labels, which nothing here needs."""
    columns = ["image_id", "label", "confidence", "copies", "source"]
    return files.read_table(path / "labels.parquet", columns).to_pandas()
