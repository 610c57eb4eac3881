"""Stage `report`: what was measured, on one page that needs nothing else, with the verdict first.

It never trains and never changes a label: every number comes from an artefact of another stage or a ledger. The page is
a list of sections. A section NAME is

- tasks/sections/NAME.py with `section(run: Material) -> dict | None`: what its template shows, or None where the
  section has nothing to say and stays away. Where something was not measured the section says so, never 0.
  What not every run has is read by `run.artefact(path)`, which is None where there is none.
- tasks/templates/NAME.html.j2: the keys of that dict are its variables; it begins with `<h2>` and may use the filters
  `percent`, `count` and `points` of tasks/wording.py and the classes of templates/report.html.j2 (`scroll` around every
  table, `note`, `grid` of `figure`, `gallery`). Charts come from tasks/figures.py as text and are put in by `| safe`;
  nothing else is.
- its place in SECTIONS, which is the order on the page;
- in dvc.yaml, stage report: tasks/sections/NAME.py, the modules it imports, and the data it reads (as folders, such as
  data/scores). Templates are listed as one folder.
"""

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks import files, wording
from tasks.sections import (
    audit,
    calibration,
    distilled,
    drift,
    evaluation,
    flow,
    gate,
    images,
    intake,
    labels,
    limits,
    provenance,
    robustness,
    scoreboard,
    verdict,
)
from tasks.sections.material import Material, gather
from tasks.stage import Stage

PARAMS = ("seed", "report", "rounds", "sources", "split", "audit.at_least", "distill")
SECTIONS: tuple[ModuleType, ...] = (
    verdict,
    limits,
    scoreboard,
    gate,
    audit,
    labels,
    flow,
    calibration,
    distilled,
    drift,
    evaluation,
    robustness,
    distilled,
    images,
    intake,
    provenance,
)
PLOTS = {  # of data/scores/rK, for `dvc plots`
    "confusion": "confusion.csv",
    "reliability": "reliability.csv",
    "recall": "per_class.csv",
    "coverage": "coverage.csv",
    "coverage_held": "coverage_held.csv",
    "flow": "changes.csv",
}


def report(stage: Stage) -> None:
    """Scores, curves, label tables and images in, data/report/report.html and the CSV files of `dvc plots` out."""
    run = gather(stage)
    shown = {_name(module): content for module in SECTIONS if (content := module.section(run)) is not None}
    out = stage.output(files.REPORT)
    (out / "report.html").write_text(render(stage.settings.report.title, shown), encoding="utf-8")
    _write_plots(out / "plots", run)
    final = run.scores[run.final]["test"]
    verdict = final and final["gain_over_baseline"]["verdict"]
    stage.summary(rounds=len(run.rounds), verdict=verdict, headline=shown["verdict"]["headline"])
    print(f"report: {shown['verdict']['headline']} See {files.REPORT / 'report.html'}")


def render(title: str, shown: dict[str, dict[str, Any]]) -> str:
    """The page as HTML. Every string that comes from data is escaped; only our own charts are put in as they are."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": wording.percent, "count": wording.count, "points": wording.points}
    environment.filters["difference"] = wording.difference
    parts = {name: environment.get_template(f"{name}.html.j2").render(it) for name, it in shown.items()}
    return environment.get_template("report.html.j2").render(title=title, sections=parts)


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _write_plots(folder: Path, run: Material) -> None:
    """One CSV a plot: `dvc plots` reads whole folders, in which nothing else may lie."""
    plots = {("training", key): path for key, path in run.curves.items()}
    plots |= {(kind, round_): files.scores(round_) / name for kind, name in PLOTS.items() for round_ in run.rounds}
    plots |= {(kind, round_): path for kind, round_, path in robustness.plots(run)}
    for (kind, key), path in plots.items():
        target = folder / kind / f"{key}.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
