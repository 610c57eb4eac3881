"""What the sections of the report are made from: settings and stored artefacts, each verified before it is read."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks import files
from tasks.params import Settings
from tasks.stage import Stage

LABEL_COLUMNS = ["image_id", "label", "confidence", "copies", "source", "reason"]
Scores = dict[str, dict[str, Any]]  # round: scores.json


@dataclass(frozen=True, slots=True)
class Material:
    """One run: what every section may read. Whatever else a section needs, it asks for by `artefact`."""

    stage: Stage
    rounds: list[str]  # in order, at least one
    sources: list[str]
    scores: Scores
    tables: dict[str, pa.Table]  # round: LABEL_COLUMNS of its label table
    curves: dict[str, Path]  # net (baseline, r0, r1...): train.csv

    @property
    def settings(self) -> Settings:
        """The settings; report's PARAMS name the ones that may be used."""
        return self.stage.settings

    @property
    def final(self) -> str:
        """The last round."""
        return self.rounds[-1]

    @property
    def classes(self) -> list[str]:
        """All class names, in order."""
        classes: list[str] = self.scores[self.final]["classes"]
        return classes

    def artefact(self, path: Path) -> Path | None:
        """An artefact (or a plain file) that not every run has: verified and watched, or None where there is none."""
        return self.stage.input(path) if path.exists() else None

    def gate(self) -> dict[str, dict[str, Any]]:
        """By round, what the gate decided (decision.json beside the champion); rounds without a gate are missing."""
        folders = {r: files.champion(r) for r in self.rounds if files.champion(r).exists()}
        only = ["decision.json"]
        return {r: files.read_json(self.stage.input(f, only=only) / only[0]) for r, f in folders.items()}

    def champion(self) -> str:
        """The net in use, a rollback included; without a gate the last student."""
        if folder := self.artefact(files.CHAMPION):
            return str(files.read_json(folder / "decision.json")["champion"])
        decisions = self.gate()
        return str(decisions[self.final]["champion"]) if self.final in decisions else self.final

    def plain(self, path: Path) -> Path:
        """A plain file that may be missing, such as a ledger of git: verified and watched if it is there."""
        return self.stage.input(path) if path.exists() else path


def gather(stage: Stage) -> Material:
    """Verify and read what every report rests on."""
    # A loop that the gate stopped has no scores of its last rounds: what there is shall be seen.
    measured = [round_ for round_ in stage.settings.rounds if files.scores(round_).is_dir()]
    rounds = measured or list(stage.settings.rounds)
    sources = list(stage.settings.sources)
    stage.inputs(files.IMAGES)
    for path in (*map(files.catalog, sources), *map(files.quarantine, sources), files.SPLIT):
        stage.input(path)
    return Material(
        stage,
        rounds,
        sources,
        scores={r: files.read_json(stage.input(files.scores(r)) / "scores.json") for r in rounds},
        tables={r: files.read_table(stage.input(files.labels(r)) / "labels.parquet", LABEL_COLUMNS) for r in rounds},
        curves={key: stage.input(files.curves(key)) / "train.csv" for key in ("baseline", "r0", *rounds)},
    )


def csv_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, as text by column name."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def column(path: Path, name: str) -> list[Any]:
    """One column of a table."""
    values: list[Any] = files.read_table(path, [name])[name].to_pylist()
    return values
