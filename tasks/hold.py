"""Hold a round before a student learns from labels that cannot be right (RELIABILITY 5.6; docs/trust.md)."""

from collections import Counter
from pathlib import Path

import numpy as np

from tasks import files, held
from tasks.core import alarms
from tasks.core.compare import exact_low
from tasks.errors import Held
from tasks.params import Hold
from tasks.stage import Stage


def refuse_teacher(rules: Hold, net: str, folder: Path, classes: list[str]) -> None:
    """Held when what a teacher said of labels it did not learn from shows chance, or wrong labels.

    Says nothing where fewer than core.alarms.FEWEST labels were held out.
    """
    prob_NC, given_N = held.read(folder, classes)
    n = len(given_N)
    if n < alarms.FEWEST:
        return
    label_N = prob_NC.argmax(axis=1)
    level, p_value = alarms.by_chance(label_N, given_N, len(classes))
    hits = int((label_N == given_N).sum())
    if rules.chance and p_value > alarms.RISK:
        what = f"the teacher {net} is right on {hits} of {n} labels it did not learn from, and guessing would be on "
        what += f"{level:.0%}: it is not shown to be better than chance (p = {p_value:.2g})"
        raise Held("teacher_by_chance", what, "look at the labels: are classes mixed up? else give it more of them")
    wrong = int(alarms.contradicted(prob_NC, given_N).sum())
    if (least := exact_low(wrong, n)) > rules.max_label_error:
        what = f"{wrong} of {n} given labels are contradicted by nets that did not learn from them, so at least "
        what += f"{least:.0%} of all labels (hold.max_label_error: {rules.max_label_error:.0%}): they are wrong or few"
        raise Held(
            "label_errors", what, "look at the labels; if they are right, give more of them or raise that setting"
        )


def refuse_labels(stage: Stage, teacher: str, classes: list[str], kept_C: np.ndarray, exempt_C: np.ndarray) -> None:
    """Held when a class starves, or far fewer classes are learnt than in the round before (`teacher`).

    `exempt_C`: classes that the settings leave without labels on purpose.
    """
    rules = stage.settings.hold
    labeled = Counter(files.read_table(files.SPLIT / "labeled.parquet", ["label"])["label"].to_pylist())
    labeled_C = np.array([labeled[name] for name in classes])
    empty_C = alarms.starved(kept_C, labeled_C) & ~exempt_C
    if rules.starvation and empty_C.any():
        names = ", ".join(f"{classes[c]!r} ({labeled_C[c]} labels)" for c in np.flatnonzero(empty_C)[:10])
        what = f"{int(empty_C.sum())} classes that have labels get none of {kept_C.sum():,} pseudo-labels: {names}"
        fix = "label more images of them, lower the threshold, or if the pool has none set hold.starvation: false"
        raise Held("class_starved", what, fix)
    table = files.read_table(files.labels(teacher) / "labels.parquet", ["label", "copies"])
    learnt = Counter(table.filter(table["copies"].to_numpy() > 0)["label"].to_pylist())
    before = alarms.effective_classes(np.array([learnt[name] for name in classes]))
    now = alarms.effective_classes(kept_C)
    if now < rules.min_classes * before:
        what = f"the kept pseudo-labels spread over {now:.1f} classes (exp of their entropy), those of {teacher} over "
        what += f"{before:.1f}: less than hold.min_classes = {rules.min_classes:.0%} of it"
        raise Held("classes_lost", what, "see what the teacher says of the lost classes, or lower hold.min_classes")
