"""`understudy curate --preview`: what a grid of thresholds would keep of a round's pool. Writes nothing under data/.

Where the settings name a target_precision, the grid is one of targets. Precision is estimated on labels that the
round's teacher did not learn from (tasks/held.py): those that would be kept count. The gate set is not looked at, or
it could not compare nets any more. The pool's hidden truth is sealed: choosing a threshold by it makes every later
figure about the pool's labels too good, so it is read on an explicit wish alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tasks import beliefs, decisions, files
from tasks.accept import Asked, Judged, ask
from tasks.beliefs import Beliefs, Compact, Words
from tasks.core.curation import CLASS_FULL, KEPT, SOURCE_CAP, Dealer, Plan
from tasks.core.metrics import wilson
from tasks.core.selection import SURE
from tasks.errors import UserError
from tasks.params import Curate, Settings

FOLDER = files.WORK / "preview"
GRID = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99)
TARGETS = (0.8, 0.9, 0.95, 0.98, 0.99)
NO_LABELS = "precision is not estimated: no labels are held out (split.calib, calibrate.folds), no --truth was given"
SAME_LABELS = (
    "the labels that chose the thresholds judge them here, so this precision is a little too good; what is promised is "
    "the target itself, with 95 % confidence in each class"
)
SOFT_TOO = (
    "kept counts classes without a promise, too: they are learnt from softly, at any target "
    "(rounds.{round_}.curate.unreachable: soft)"
)
NOT_HONEST = (
    "--truth reads the sealed labels of the pool. A threshold chosen by them makes the precision that `evaluate` "
    "reports too good: use it to study the method, not to choose settings."
)


@dataclass(frozen=True, slots=True)
class Known:
    """Images with a known class, as the policies see them: the teacher's label and key, and the truth."""

    label_K: np.ndarray
    key_K: np.ndarray
    truth_K: np.ndarray  # -1 where the truth is not known
    whose: str
    in_pool: bool  # the pool itself, in its order


@dataclass(frozen=True, slots=True)
class Preview:
    """A row for each threshold, what to say about them, and where the plot lies."""

    rows: list[dict[str, Any]]
    notes: list[str]
    plot: Path


def preview(settings: Settings, round_: str, truth: bool) -> Preview:
    """Counts and estimated precision of a round's policies for a grid of thresholds. UserError without its inputs."""
    if round_ not in settings.rounds:
        rounds = ", ".join(settings.rounds)
        raise UserError("unknown_round", f"params.yaml has no round {round_!r}; known: {rounds}", "choose one of them")
    entry = settings.rounds[round_]
    for folder in (files.SPLIT, files.probs(round_), files.champion(entry.teacher), files.labels(entry.teacher)):
        if not folder.is_dir():
            raise UserError("nothing_yet", f"{folder} does not exist yet", f"dvc repro label@{round_}")
        files.verify(folder)
    classes: list[str] = files.read_json(files.SPLIT / "classes.json")
    said = decisions.in_force(files.decisions(round_), classes)
    words = Words(beliefs.human_words(entry.teacher, classes, said)[0])
    stored = Beliefs(round_, len(classes), with_source=entry.curate.source_cap is not None)
    teacher, key = files.champion(entry.teacher), f"rounds.{round_}.curate"
    reading = beliefs.reading(stored, teacher, entry.curate, classes, key)
    compact = beliefs.compact(stored, words, reading, entry.curate, beliefs.THREADS)
    judged = Judged.read(teacher, reading, classes)
    known = _sealed(compact, classes) if truth else _held_out(judged)
    name, grid = _grid(entry.curate)
    trials = [entry.curate.model_copy(update={name: value}) for value in grid]
    rows = [_row(compact, trial, ask(trial, judged, classes, key), known) for trial in trials]
    for row, value in zip(rows, grid, strict=True):
        row |= {name.removesuffix("_precision"): value, "chosen": value == getattr(entry.curate, name)}
    notes = [NOT_HONEST] if truth else [] if known else [NO_LABELS]
    if name == "target_precision" and not truth:
        notes.append(SAME_LABELS)
    if name == "target_precision" and entry.curate.unreachable == "soft":
        notes.append(SOFT_TOO.format(round_=round_))
    if known:
        notes.append(f"precision: {known.whose}; in brackets its 95 % interval (Wilson)")
    if entry.curate.adaptive == "freematch":
        notes.append(f"rounds.{round_}.curate.adaptive: freematch sets its own thresholds, so all rows are the same")
    return Preview(rows, notes, plot(rows, round_, name.removesuffix("_precision")))


def _grid(settings: Curate) -> tuple[str, list[float]]:
    """The setting that is tried out, and its values."""
    if settings.target_precision is None:
        return "threshold", sorted({*GRID, settings.threshold})
    return "target_precision", sorted({*TARGETS, settings.target_precision})


def _row(compact: Compact, settings: Curate, asked: Asked, known: Known | None) -> dict[str, Any]:
    """What the policies keep with such thresholds. The keys are copied: a decision marks them."""
    trial = Compact(compact.label_N, compact.key_N.copy(), compact.source_N, compact.mean, compact.classes)
    plan = trial.decide(settings, asked.threshold, beliefs.THREADS)
    copies_N, reason_N = Dealer(plan).deal(trial.label_N, trial.key_N)
    row: dict[str, Any] = {
        "confident": int(np.isin(reason_N, (KEPT, CLASS_FULL, SOURCE_CAP)).sum()),
        "kept": int(plan.kept_C.sum()),
        "share": float(plan.kept_C.sum() / max(len(copies_N), 1)),
        "shown": int(copies_N.sum()),
        "smallest": int(plan.kept_C.min()),
        "largest": int(plan.kept_C.max()),
    }
    if settings.target_precision is not None:
        row["promised"] = int((~asked.missed_C).sum())
    if known is None:
        return row
    judged_K = _would_keep(plan, known) if not known.in_pool else copies_N > 0
    judged_K = judged_K & (known.truth_K >= 0)
    right, n = int((known.label_K == known.truth_K)[judged_K].sum()), int(judged_K.sum())
    low, high = wilson(right, n) if n else (0.0, 1.0)
    return row | {"precision": right / n if n else None, "low": low, "high": high, "judged": n}


def _would_keep(plan: Plan, known: Known) -> np.ndarray:
    """Which held-out images the plan would keep if they stood in the pool; a tie with the last one kept counts."""
    cut_K = plan.kept.key_G[known.label_K]
    ties_K = plan.kept.ties_G[known.label_K] > 0
    passes_K: np.ndarray = (known.key_K > cut_K) | ((known.key_K == cut_K) & ties_K)
    passes_K &= known.key_K >= plan.floor_C[known.label_K]
    return passes_K


def _held_out(judged: Judged) -> Known | None:
    """What lies beside the teacher's weights; None where nothing was held out."""
    count = len(judged.truth_K)
    whose = f"{count} labels that the teacher did not learn from, those that would be kept"
    return Known(judged.label_K, judged.key_K, judged.truth_K, whose, False) if count else None


def _sealed(compact: Compact, classes: list[str]) -> Known | None:
    """The pool itself with its hidden truth, -1 where there is none."""
    files.verify(files.SEALED)
    compute: Any = pyarrow.compute
    truth = files.read_table(files.SEALED / "truth.parquet", ["image_id", "label"])
    pool = files.read_table(files.SPLIT / "pool.parquet", ["image_id", "status"])
    ids = pool.filter(compute.equal(pool["status"], "pool"))["image_id"]
    names = truth["label"].take(compute.index_in(ids, value_set=truth["image_id"].combine_chunks()))
    truth_N = compute.fill_null(compute.index_in(names, value_set=pa.array(classes)), -1).to_numpy()
    return Known(compact.label_N, np.minimum(compact.key_N, SURE), truth_N, "the sealed labels of the pool", True)


def plot(rows: list[dict[str, Any]], round_: str, name: str) -> Path:
    """Share of the pool kept, and precision where it is known, over threshold or target: .work/preview/rK.png."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    at = [row[name] for row in rows]
    axes.plot(at, [row["share"] for row in rows], "o-", label="share of the pool that is kept")
    judged = [row for row in rows if row.get("precision") is not None]
    if judged:
        spread = [[r["precision"] - r["low"] for r in judged], [r["high"] - r["precision"] for r in judged]]
        axes.errorbar(
            [r[name] for r in judged],
            [r["precision"] for r in judged],
            yerr=np.maximum(spread, 0),
            fmt="s-",
            capsize=3,
            label="estimated precision",
        )
    axes.axvline(next(row[name] for row in rows if row["chosen"]), color="grey", linestyle=":", label="params.yaml")
    axes.set(xlabel=name, ylim=(0, 1.02), title=f"What curate@{round_} would keep")
    axes.grid(alpha=0.3)
    axes.legend()
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{round_}.png"
    figure.savefig(path, dpi=120, metadata={"Software": None})
    return path
