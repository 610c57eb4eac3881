"""Section `calibration`: is a net as right as it is sure."""

from typing import Any

from tasks import figures, files
from tasks.sections.material import Material, csv_rows


def section(run: Material) -> dict[str, Any] | None:
    """The reliability diagram of the final student; None without test images."""
    rows = csv_rows(files.scores(run.final) / "reliability.csv")
    bins = [(float(row["confidence"]), float(row["accuracy"]), int(row["n"])) for row in rows]
    return {"reliability": figures.reliability(bins, len(run.rounds) + 1)} if bins else None
