"""Section `evaluation`: where the final student errs, pair by pair and class by class."""

from collections import Counter
from typing import Any

from tasks import files, wording
from tasks.sections.material import Material, csv_rows

SHOWN_MISTAKES = 16
MOST_CLASSES, SHOWN_CLASSES = 40, 10  # rows of the class table; above it so many of either end
LARGEST_MATRIX = 20  # classes; above it the most frequent mistakes are listed instead


def section(run: Material) -> dict[str, Any]:
    """Confusion matrix or most frequent mistakes, and the class table."""
    folder = files.scores(run.final)
    return {
        "round": run.final,
        "knn": _knn(run.final, run.scores[run.final]["knn"]),
        "confusion": _confusion(csv_rows(folder / "confusion.csv"), run.classes),
        **_classes(csv_rows(folder / "per_class.csv")),
    }


def _knn(round_: str, knn: dict[str, Any] | None) -> str | None:
    """Whether the trained head is worth more than asking the nearest labeled images; None where not measured."""
    if knn is None:
        return None
    gain = knn["gain"]
    change, low, high = (wording.points(gain[name]) for name in ("points", "low", "high"))
    beats = {
        "better": f"Student {round_} beats the reference",
        "worse": f"Student {round_} is WORSE than the reference",
        "within noise": f"Student {round_} does not beat the reference",
    }[gain["verdict"]]
    voters = f"the {wording.count(knn['k'])} nearest of {wording.count(knn['neighbours'])} labeled images"
    right = f"which is right on {wording.percent(knn['accuracy'])} of the test"
    interval = f"{change} points (95 % interval {low} to {high}, {gain['verdict']})"
    return f"{beats}, a vote of {voters} in its own features, {right}: {interval}."


def _classes(rows: list[dict[str, str]]) -> dict[str, Any]:
    """The class table; of many classes the two ends: by recall, without test images by labels learnt."""
    if len(rows) <= MOST_CLASSES:
        return {"classes": rows, "of": len(rows)}
    ranked = sorted(rows, key=lambda row: (float(row["recall"] or 2), int(row["kept"])))
    return {"classes": [*ranked[:SHOWN_CLASSES], *ranked[-SHOWN_CLASSES:]], "of": len(rows)}


def _confusion(rows: list[dict[str, str]], classes: list[str]) -> dict[str, Any] | None:
    """The final student's counts by true and predicted class; null without test images."""
    counts = Counter((row["actual"], row["predicted"]) for row in rows)
    if not counts:
        return None
    mistakes = [(*pair, n) for pair, n in counts.most_common() if pair[0] != pair[1]][:SHOWN_MISTAKES]
    matrix = [
        {"name": a, "cells": [counts[a, p] for p in classes], "n": sum(counts[a, p] for p in classes)} for a in classes
    ]
    return {"classes": classes, "rows": matrix if len(classes) <= LARGEST_MATRIX else [], "mistakes": mistakes}
