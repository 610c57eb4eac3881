"""The training curve as a file that grows while a net learns: train.csv."""

import csv
import io
from pathlib import Path

from tasks import files

LIVE = files.WORK / "curves"  # the same files under a name that can be known, while a net learns and after
COLUMNS = ("step", "loss", "loss_labeled", "loss_pseudo", "lr")


class Curve:
    """The rows of a training curve, kept beside the checkpoints so that a resumed run has all of them."""

    def __init__(self, path: Path, done: int, validated: bool = False) -> None:
        """Goes on after step `done`; `validated`: with a column of the images kept aside."""
        self.path, self.last_loss, self.last_step = path, float("nan"), 0
        self._columns = (*COLUMNS, "loss_validation") if validated else COLUMNS
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        rows = [row for row in csv.DictReader(io.StringIO(text)) if int(row["step"]) <= done]
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, self._columns)
            writer.writeheader()
            writer.writerows(rows)
        if rows:
            self.last_loss, self.last_step = float(rows[-1]["loss"]), int(rows[-1]["step"])

    def show_as(self, name: str) -> None:
        """Let `dvc plots show .work/curves/NAME.csv` find it while it grows: a second name for the file."""
        LIVE.mkdir(parents=True, exist_ok=True)
        link = LIVE / f"{name}.csv"
        link.unlink(missing_ok=True)
        link.hardlink_to(self.path)

    def add(self, row: dict[str, float]) -> None:
        """One row of the log; what has no column is left out, a column without a value stays empty."""
        self.last_loss, self.last_step = row["loss"], int(row["step"])
        with self.path.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, self._columns, extrasaction="ignore", restval="")
            writer.writerow({name: f"{v:.6g}" for name, v in row.items()} | {"step": int(row["step"])})
