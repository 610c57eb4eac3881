"""Section `scoreboard`: supervised-only, the first teacher and each student side by side, and the labels they cost."""

from typing import Any

from tasks import audits, figures, files, studies, wording
from tasks.sections.material import Material, csv_rows
from tasks.sections.verdict import over_baseline


def section(run: Material) -> dict[str, Any]:
    """One row a net, accuracy and training charts, the study over seeds, and how many labels were spent on what."""
    board = _board(run)
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
        "budget": _labels_spent(run),
        "accuracies": figures.accuracies(shares) if shares else None,
        "training": figures.training(points),
        "study": _study(run),
        "seed": run.settings.seed,
    }


def _board(run: Material) -> list[dict[str, Any]]:
    """Baseline, first teacher, students; `mark` says what the gate made of a net, `gain` is over supervised-only."""
    first, last = run.rounds[0], run.final
    entries = [("baseline", "supervised-only", last), ("teacher", "teacher r0", first)]
    entries += [("student", f"student {round_}", round_) for round_ in run.rounds]
    marks = _marks(run)
    rows = []
    for role, name, round_ in entries:
        score = run.scores[round_]
        net, test, gate = score["nets"][role], score["test"], score["gate"]
        rows.append(
            {
                "name": name,
                "n": test and test["n"],
                "test": test and test[role],
                "gate": gate and gate[role],
                "gain": over_baseline(round_, role) if test and role != "baseline" else None,
                "mark": marks.get(net["key"]),
                **net,
            }
        )
    return rows


def _marks(run: Material) -> dict[str, str]:
    """`champion` for the net that would label next, `held` for students the gate did not let label."""
    decisions = run.gate()
    marks = {round_: "held" for round_, made in decisions.items() if not made["promoted"]}
    return marks | ({run.champion(): "champion"} if decisions else {})


def _labels_spent(run: Material) -> dict[str, int]:
    """Images that people named, by what for; those of audits count once however many people named them."""
    test = run.scores[run.final]["test"]
    sizes = {name: files.rows(files.SPLIT / f"{name}.parquet") for name in ("labeled", "calib", "gate")}
    return sizes | {"audit": audits.spent(audits.read(run.plain(files.AUDIT))), "test": test["n"] if test else 0}


def _study(run: Material) -> dict[str, Any] | None:
    """Mean, spread and paired differences over seeds; None where nobody ran `understudy seeds`."""
    if not (found := studies.read(run.plain(files.SEEDS))) or not found.images:
        return None
    pairs = [(net, "baseline") for net in found.accuracy if net != "baseline"]
    pairs += [(run.final, "r0")] if {run.final, "r0"} <= found.accuracy.keys() else []
    return {
        "seeds": found.seeds,
        "nets": [(wording.net(net), spread) for net, spread in found.spreads().items()],
        "gains": [(wording.net(new), wording.net(old), found.gain(new, old)) for new, old in pairs],
        "stopped": found.stopped,
        "agrees": found.agrees(run.settings.seed, studies.of_round(run.scores)),
        "chart": figures.seeds({wording.net(net): values for net, values in found.accuracy.items()}),
    }
