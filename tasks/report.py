"""Stage `report`: what was measured, on one page that needs nothing else, with the verdict first.

Numbers come from the other stages' artefacts; only the final student against the very first teacher is compared here.
"""

import csv
import shutil
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks import figures, files, wording
from tasks.core.compare import compare
from tasks.images.thumbnails import as_shown
from tasks.stage import Stage

PARAMS = ("report", "rounds", "sources", "split.duplicates")
PLOTS = {"confusion": "confusion.csv", "reliability": "reliability.csv"}
SHOWN_IMAGES = 16
LARGEST_MATRIX = 20  # classes; above it the most frequent mistakes are listed instead
LIBRARIES = ("understudy", "torch", "torchvision", "numpy", "pyarrow", "pillow", "scikit-learn", "dvc")

Scores = dict[str, dict[str, Any]]  # round: scores.json


def report(stage: Stage) -> None:
    """Scores, curves, label tables and images in, data/report/report.html and the CSV files of `dvc plots` out."""
    rounds = list(stage.settings.rounds)
    sources = list(stage.settings.sources)
    stage.inputs(files.IMAGES)
    for path in (*map(files.catalog, sources), *map(files.quarantine, sources), files.SPLIT):
        stage.input(path)
    scores: Scores = {r: files.read_json(stage.input(files.scores(r)) / "scores.json") for r in rounds}
    tables = {r: _label_table(stage.input(files.labels(r))) for r in rounds}
    curves = {key: stage.input(files.curves(key)) / "train.csv" for key in ("baseline", "r0", *rounds)}
    board = _scoreboard(scores)
    gains = _gains(scores)
    page: dict[str, Any] = {
        "title": stage.settings.report.title,
        "verdict": wording.verdict(scores[rounds[-1]], gains),
        "board": board,
        "labels": _labels(tables, scores),
        "budget": _labels_spent(scores[rounds[-1]]),
        "charts": _charts(board, curves, rounds[-1]),
        "confusion": _confusion(rounds[-1], scores[rounds[-1]]["classes"]),
        "classes": _rows(files.scores(rounds[-1]) / "per_class.csv"),
        "galleries": _galleries(tables[rounds[-1]]),
        "intake": _intake(sources),
        "leaks": _leaks(),
        "copies": stage.settings.split.duplicates,
        "provenance": _provenance(rounds, sources),
    }
    out = stage.output(files.REPORT)
    (out / "report.html").write_text(render(page), encoding="utf-8")
    _write_plots(out / "plots", curves, rounds)
    final = scores[rounds[-1]]["test"]
    stage.summary(rounds=len(rounds), verdict=final and final["gain_over_baseline"]["verdict"])
    print(f"report: {page['verdict']['headline']} See {files.REPORT / 'report.html'}")


def render(page: dict[str, Any]) -> str:
    """The page as HTML. Every string that comes from data is escaped; only our own charts are put in as they are."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": wording.percent, "count": wording.count, "points": wording.points}
    return environment.get_template("report.html.j2").render(page)


def _label_table(folder: Path) -> pa.Table:
    columns = ["image_id", "label", "confidence", "copies", "source", "reason"]
    return files.read_table(folder / "labels.parquet", columns)


def _scoreboard(scores: Scores) -> list[dict[str, Any]]:
    """One row a net: supervised-only, the first teacher, each student."""
    first, last = next(iter(scores.values())), list(scores.values())[-1]
    entries = [("baseline", "supervised-only", last), ("teacher", f"teacher {first['nets']['teacher']['key']}", first)]
    entries += [("student", f"student {round_}", score) for round_, score in scores.items()]
    return [
        {
            "name": name,
            "n": score["test"] and score["test"]["n"],
            "test": score["test"] and score["test"][role],
            "gate": score["gate"] and score["gate"][role],
            **score["nets"][role],
        }
        for role, name, score in entries
    ]


def _gains(scores: Scores) -> dict[str, dict[str, Any]] | None:
    """The final student against the supervised-only net and the first teacher, on the same test images."""
    rounds = list(scores)
    if not scores[rounds[-1]]["test"]:
        return None
    first, last = (files.read_table(files.scores(r) / "predictions.parquet") for r in (rounds[0], rounds[-1]))
    if not first["image_id"].equals(last["image_id"]):
        raise AssertionError(f"{rounds[0]} and {rounds[-1]} were tested on different images")
    student, teacher = (_right(last, "student"), _right(first, "teacher"))
    return {"baseline": scores[rounds[-1]]["test"]["gain_over_baseline"], "r0": compare(student, teacher).as_dict()}


def _right(predictions: pa.Table, role: str) -> np.ndarray:
    right: np.ndarray = pc.equal(predictions[role], predictions["label"]).to_numpy()
    return right


def _labels(tables: dict[str, pa.Table], scores: Scores) -> dict[str, Any]:
    """Counts per reason and round, which add up to the pool (C7), and how right the learnt labels are."""
    counts = {r: Counter(table["reason"].to_pylist()) for r, table in tables.items()}
    reasons = [name for name in wording.REASONS if any(name in c for c in counts.values())]
    for round_, table in tables.items():
        if sum(counts[round_][name] for name in reasons) != table.num_rows:
            raise AssertionError(f"{round_}: {table.num_rows} pool images, reasons {dict(counts[round_])}")
    return {
        "rounds": list(tables),
        "reasons": [(wording.REASONS[name], [counts[r][name] for r in tables]) for name in reasons],
        "pool": [table.num_rows for table in tables.values()],
        "scores": [scores[r]["labels"] for r in tables],
    }


def _labels_spent(final: dict[str, Any]) -> dict[str, int]:
    sizes = {name: files.read_table(files.SPLIT / f"{name}.parquet").num_rows for name in ("labeled", "calib", "gate")}
    return sizes | {"test": final["test"]["n"] if final["test"] else 0}


def _charts(board: list[dict[str, Any]], curves: dict[str, Path], final: str) -> dict[str, str | None]:
    """Inline SVG; null where there is nothing to draw."""
    shares = [
        figures.Share(row["name"], *(row["test"][k] for k in ("accuracy", "low", "high")))
        for row in board
        if row["test"]
    ]
    points = {
        row["name"]: [(float(r["step"]), float(r["loss"])) for r in _rows(path)]
        for row, path in zip(board, curves.values(), strict=True)
    }
    bins = [
        (float(r["confidence"]), float(r["accuracy"]), int(r["n"])) for r in _rows(_scores_file(final, "reliability"))
    ]
    return {
        "accuracies": figures.accuracies(shares) if shares else None,
        "training": figures.training(points),
        "reliability": figures.reliability(bins, len(board) - 1) if bins else None,
    }


def _scores_file(round_: str, plot: str) -> Path:
    return files.scores(round_) / PLOTS[plot]


def _confusion(final: str, classes: list[str]) -> dict[str, Any] | None:
    """The final student's counts by true and predicted class, and its most frequent mistakes."""
    counts = Counter((row["actual"], row["predicted"]) for row in _rows(_scores_file(final, "confusion")))
    if not counts:
        return None
    mistakes = [(*pair, n) for pair, n in counts.most_common() if pair[0] != pair[1]][:SHOWN_IMAGES]
    rows = [
        {"name": a, "cells": [counts[a, p] for p in classes], "n": sum(counts[a, p] for p in classes)} for a in classes
    ]
    return {"classes": classes, "rows": rows if len(classes) <= LARGEST_MATRIX else [], "mistakes": mistakes}


def _galleries(table: pa.Table) -> list[dict[str, Any]]:
    """The images most worth a look: where the net was least sure and learnt, where it was most sure and did not."""
    galleries = [
        _gallery("Least confident kept", table, ["kept"], "ascending"),
        _gallery("Most confident refused", table, ["low_confidence", "class_full"], "descending"),
    ]
    shown = as_shown(files.IMAGES, {row["image_id"] for gallery in galleries for row in gallery["rows"]})
    for gallery in galleries:
        for row in gallery["rows"]:
            row |= {"image": shown[row["image_id"]], "reason": wording.REASONS[row["reason"]]}
    return galleries


def _gallery(
    title: str, table: pa.Table, reasons: list[str], order: Literal["ascending", "descending"]
) -> dict[str, Any]:
    part = table.filter(pc.field("reason").isin(reasons))
    rows = part.sort_by([("confidence", order), ("image_id", "ascending")]).slice(0, SHOWN_IMAGES).to_pylist()
    return {"title": title, "of": part.num_rows, "rows": rows, "refused": reasons != ["kept"]}


def _intake(sources: list[str]) -> dict[str, Any]:
    reasons = [r for s in sources for r in _column(files.quarantine(s) / "quarantine.parquet", "reason")]
    return {
        "accepted": sum(files.read_table(files.catalog(s) / "images.parquet", ["image_id"]).num_rows for s in sources),
        "quarantined": len(reasons),
        "reasons": Counter(sorted(reasons)).most_common(),
    }


def _column(path: Path, name: str) -> list[str]:
    values: list[Any] = files.read_table(path, [name])[name].to_pylist()
    return values


def _leaks() -> dict[str, int]:
    status = Counter(_column(files.SPLIT / "pool.parquet", "status"))
    summary = files.read_json(files.SPLIT / files.SUMMARY)
    return {
        "held_out": status["held_out"] + status["near_held_out"],
        "duplicate": status["duplicate"] + status["near_duplicate"],
        "labeled": summary.get("leaks", 0) + summary.get("near_leaks", 0),
        "conflict": status["conflict"],
    }


def _provenance(rounds: list[str], sources: list[str]) -> dict[str, Any]:
    """Identity of every artefact the page rests on, and the versions it was made with."""
    paths = [f(s) for s in sources for f in (files.images, files.catalog)]
    paths += [files.SPLIT, *(f(r) for r in rounds for f in (files.labels, files.scores))]
    nets = {
        files.model(n["key"]): n["artefact"]
        for r in rounds
        for n in files.read_json(files.scores(r) / "scores.json")["nets"].values()
    }
    hashes = {path: files.manifest_hash(path) for path in paths} | nets
    return {
        "artefacts": sorted((path.as_posix(), value) for path, value in hashes.items()),
        "versions": [(name, version(name)) for name in LIBRARIES],
    }


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _write_plots(folder: Path, curves: dict[str, Path], rounds: list[str]) -> None:
    """One CSV a plot: `dvc plots` reads whole folders, in which nothing else may lie."""
    plots = {("training", key): path for key, path in curves.items()}
    plots |= {(kind, round_): _scores_file(round_, kind) for kind in PLOTS for round_ in rounds}
    for (kind, key), path in plots.items():
        target = folder / kind / f"{key}.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
