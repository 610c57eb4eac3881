"""The confidence each class asks for in a round, and what held-out labels say of it: thresholds.json of a label table.

The labels are those that the round's teacher did not learn from (tasks/held.py), read as the pool is read. They are
right about the pool as far as it resembles them: no more shift than calibration can see.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks import held
from tasks.core import curation
from tasks.core.belief import Reading
from tasks.core.calibration import Calibration
from tasks.core.compare import exact_low
from tasks.core.promise import NEVER, needed, promise
from tasks.errors import UserError
from tasks.params import Curate

THRESHOLDS = "thresholds.json"
DIGITS, SHOWN = 6, 10
ENOUGH = 100  # held-out images of all classes together: the temperature that vouches for a promise is fitted on them


@dataclass(frozen=True, slots=True)
class Judged:
    """Held-out images as the policies see them: the teacher's label and confidence, and the class that was given."""

    label_K: np.ndarray
    key_K: np.ndarray  # see core.curation
    sure_K: np.ndarray  # the confidence of that label after the temperature, float32
    truth_K: np.ndarray

    @classmethod
    def read(cls, teacher: Path, reading: Reading, classes: list[str]) -> "Judged":
        """What lies beside the weights of a verified net."""
        prob_KC, truth_K = held.read(teacher, classes)
        return cls.made(prob_KC, truth_K, reading, held.calibration(teacher, "temperature", len(classes)))

    @classmethod
    def made(cls, prob_KC: np.ndarray, truth_K: np.ndarray, reading: Reading, calibrated: Calibration) -> "Judged":
        """The same from the answers themselves."""
        if not len(truth_K):
            return cls(truth_K, np.empty(0, np.int32), np.empty(0, np.float32), truth_K)
        label_K, key_K = curation.choose(reading.soft(prob_KC), np.full(len(truth_K), curation.NO_DECISION))
        sure_K = calibrated.apply(prob_KC)[np.arange(len(truth_K)), label_K]
        return cls(label_K, key_K, sure_K.astype(np.float32), truth_K)

    def of(self, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Confidence, the calibrated one, and whether it is right, of the images that the teacher puts in a class."""
        ours_K = self.label_K == label
        return curation.confidence(self.key_K[ours_K]), self.sure_K[ours_K], (self.truth_K == label)[ours_K]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a round asks of each class. Without a target_precision no class misses one."""

    threshold: float | np.ndarray  # one for all, or float32 (C,)
    missed_C: np.ndarray  # classes that do not reach it,
    soft_C: np.ndarray  # and of these the ones that are learnt from with the teacher's distribution


def ask(settings: Curate, judged: Judged, classes: list[str], key: str) -> Asked:
    """The thresholds of the settings. UserError where a precision is wanted and no label was held out."""
    if settings.target_precision is None:
        none_C = np.zeros(len(classes), bool)
        return Asked(settings.threshold, none_C, none_C)
    if not len(judged.truth_K):
        what = f"{key}.target_precision needs labels that the teacher did not learn from, and there are none"
        raise UserError("nothing_held_out", what, "set split.calib or calibrate.folds in params.yaml")
    threshold_C = np.full(len(classes), NEVER)
    if len(judged.truth_K) >= ENOUGH:
        threshold_C = np.array([promise(*judged.of(c), settings.target_precision) for c in range(len(classes))])
    missed_C = threshold_C == NEVER
    soft_C = missed_C & (settings.unreachable == "soft")
    threshold_C[soft_C] = settings.threshold
    return Asked(threshold_C, missed_C, soft_C)


def report(asked: Asked, settings: Curate, judged: Judged, floor_C: np.ndarray, classes: list[str]) -> dict[str, Any]:
    """thresholds.json. Of each class: n held-out images that pass, how many are right, and the one-sided 95 % bound."""
    target = settings.target_precision
    how = "target_precision" if target is not None else "fixed" if settings.adaptive == "none" else settings.adaptive
    rows = {}
    for c, name in enumerate(classes):
        score_K, sure_K, right_K = judged.of(c)
        closed = floor_C[c] >= NEVER
        passes_K = np.ones(len(score_K), bool) if closed else score_K >= floor_C[c]
        n, right = int(passes_K.sum()), int(right_K[passes_K].sum())
        rows[name] = {
            "threshold": None if closed else round(float(floor_C[c]), DIGITS),
            "reached": None if target is None else not asked.missed_C[c],
            "n": n,
            "right": right,
            "precision": round(right / n, DIGITS) if n else None,
            "low": round(exact_low(right, n), DIGITS) if n else None,
            "needed": needed(score_K, sure_K, right_K, target) if target is not None and asked.missed_C[c] else None,
        }
    about = {"how": how, "target": target, "calibration": settings.calibration, "held_out": len(judged.truth_K)}
    return about | {"unreachable": settings.unreachable if target is not None else None, "classes": rows}


def say(found: dict[str, Any], stage: str) -> list[str]:
    """A line for each class that promises nothing: how many held-out images it has, and how many more it takes."""
    missed = {name: row for name, row in found["classes"].items() if row["reached"] is False}
    if not missed:
        return []
    fate = {"review": "not learnt from (below_promise)", "soft": "learnt from softly (kept_soft)"}[found["unreachable"]]
    lines = [f"{stage}: {len(missed)} of {len(found['classes'])} classes do not reach {found['target']:g}: {fate}"]
    if found["held_out"] < ENOUGH:
        lines.append(f"  nothing is promised on fewer than {ENOUGH} held-out images; there are {found['held_out']}")
    for name, row in list(missed.items())[:SHOWN]:
        more = f"at least {row['needed']} more held-out images like these" if row["needed"] else "more will not do"
        lines.append(f"  {name}: {row['right']} of {row['n']} held-out images right; {more}")
    return lines + ([f"  and {len(missed) - SHOWN} more, see {THRESHOLDS}"] if len(missed) > SHOWN else [])
