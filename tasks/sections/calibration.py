"""Section `calibration`: is a net as right as it is sure, and from which confidence on its labels were learnt."""

from typing import Any

from tasks import figures, files
from tasks.sections.material import Material, csv_rows

SHOWN_CLASSES = 20  # up to so many the table of thresholds is open from the start
FROM = {
    "calib": "the calibration split",
    "cross-fit": "nets that each learnt from the other labels (a little optimistic for students)",
    "none": "nothing held out",
}


def section(run: Material) -> dict[str, Any] | None:
    """Calibration of every teacher on held-out labels, the thresholds of every round, and the final student on test."""
    rows = csv_rows(files.scores(run.final) / "reliability.csv")
    bins = [(float(row["confidence"]), float(row["accuracy"]), int(row["n"])) for row in rows]
    teachers = [_teacher(run, round_) for round_ in run.rounds]
    found = {
        "reliability": figures.reliability(bins, len(run.rounds) + 1) if bins else None,
        "teachers": [row for row in teachers if row],
        "sentences": [words(row) for row in teachers[-1:] if row and row["read"]],
        "corrected": _diagrams(run, teachers),
        "thresholds": [row for round_ in run.rounds if (row := _thresholds(round_))],
        "open": len(run.classes) <= SHOWN_CLASSES,
    }
    return found if bins or found["teachers"] or found["thresholds"] else None


def _teacher(run: Material, round_: str) -> dict[str, Any] | None:
    """What held-out labels say of a round's teacher, as it said it and as the round reads it; None without any."""
    settings = run.settings.rounds[round_]
    folder = run.artefact(files.champion(settings.teacher))
    if folder is None or not (folder / "calibration.json").is_file():
        return None
    found = files.read_json(folder / "calibration.json")
    variant = settings.curate.calibration
    row = {"round": round_, "origin": FROM[found["from"]], "n": found["n"], "variant": variant}
    row |= {"temperature": found["temperature"] if variant != "none" else None}
    return row | {"raw": found["ece"].get("none"), "read": found["ece"].get(variant), "bins": found["reliability"]}


def words(row: dict[str, Any]) -> str:
    """What a tired reader takes from the last row of the table."""
    ece, held = row["read"], f"{row['n']:,} held-out labels"
    how = "taken as the net says it" if row["variant"] == "none" else "corrected before it is used"
    start = f"The teacher of {row['round']}: its confidence is {how}"
    if ece["low"] == 0:
        return f"{start}, and {held} show no error in it (at most {100 * ece['high']:.0f} points on average)."
    fix = "; curate.calibration: temperature would correct that" if row["variant"] == "none" else ""
    off = f"{100 * ece['low']:.0f} to {100 * ece['high']:.0f} points"
    return f"{start}, and is off by {off} on average, by {held}{fix}."


def _diagrams(run: Material, teachers: list[dict[str, Any] | None]) -> list[tuple[str, str]]:
    """Reliability of the last round's teacher on held-out labels, before and after; none where nothing was held out."""
    last = teachers[-1]
    if not last or not last["bins"]:
        return []
    titles = {"none": "As it said it", "temperature": "With a temperature", "per_class": "With a bias for each class"}
    return [
        (title, figures.reliability(last["bins"][name], len(run.rounds), f"held-{name}"))
        for name, title in titles.items()
        if name in {"none", last["variant"]} and last["bins"].get(name)
    ]


def _thresholds(round_: str) -> dict[str, Any] | None:
    """thresholds.json of a round, whose label table was verified already."""
    path = files.labels(round_) / "thresholds.json"
    return files.read_json(path) | {"round": round_} if path.is_file() else None
