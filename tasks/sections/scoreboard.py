"""Section `scoreboard`: supervised-only, the first teacher and each student side by side, and the labels they cost."""

from typing import Any

from tasks import figures, files
from tasks.sections.material import Material, Scores, csv_rows


def section(run: Material) -> dict[str, Any]:
    """One row a net, accuracy and training charts, and how many labels were spent on what."""
    board = _board(run.scores)
    shares = [
        figures.Share(row["name"], *(row["test"][k] for k in ("accuracy", "low", "high")))
        for row in board
        if row["test"]
    ]
    points = {
        row["name"]: [(float(r["step"]), float(r["loss"])) for r in csv_rows(path)]
        for row, path in zip(board, run.curves.values(), strict=True)
    }
    return {
        "board": board,
        "budget": _labels_spent(run.scores[run.final]),
        "accuracies": figures.accuracies(shares) if shares else None,
        "training": figures.training(points),
    }


def _board(scores: Scores) -> list[dict[str, Any]]:
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


def _labels_spent(final: dict[str, Any]) -> dict[str, int]:
    sizes = {name: files.rows(files.SPLIT / f"{name}.parquet") for name in ("labeled", "calib", "gate")}
    return sizes | {"test": final["test"]["n"] if final["test"] else 0}
