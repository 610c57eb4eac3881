"""Stage `curate@rK`: which pseudo-labels are trusted, one reason for every pool image. People overrule teachers.

The pool may be larger than memory. A first pass over the stored probabilities keeps a label and a key of each image
(tasks/beliefs.py); on these the policies decide; a second pass writes the label table, with probabilities only where
soft labels are kept.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks import accept, beliefs, decisions, files, held, hold
from tasks.beliefs import Beliefs, Column, Compact, Words, compute
from tasks.core import belief
from tasks.core.curation import KEPT, KEPT_SOFT, REASONS, SOURCE_CAP, Dealer, Plan, confidence
from tasks.errors import Held
from tasks.params import Curate, Round
from tasks.stage import Stage

PARAMS = ("rounds.{key}.teacher", "rounds.{key}.curate")
STOPS = ("hold",)
CARD = "card.json"
ABOUT_THE_TEACHER = (CARD, held.HELD, held.CALIBRATION)


@dataclass(frozen=True, slots=True)
class Decided:
    """A round's pool after the first pass and the decision."""

    round: str
    entry: Round
    teacher: str  # the net that labeled
    classes: list[str]
    stored: Beliefs
    reading: belief.Reading
    compact: Compact
    asked: accept.Asked
    plan: Plan
    conflicts: set[str]  # images that people disagree on; decided on like rejected ones


def curate(stage: Stage, round_: str) -> None:
    """Stored probabilities, what the teacher said of held-out labels, the round's decisions and the previous table in,
    the label table data/labels/rK out."""
    entry, key = stage.settings.rounds[round_], f"rounds.{round_}.curate"
    stage.input(files.SPLIT)
    stage.input(files.probs(round_))
    classes: list[str] = files.read_json(files.SPLIT / "classes.json")
    said = decisions.in_force(stage.input(files.decisions(round_)), classes)
    teacher = stage.input(files.champion(entry.teacher), only=ABOUT_THE_TEACHER)
    net = files.read_json(teacher / CARD)["key"]
    stage.input(files.labels(entry.teacher))
    hold.refuse_teacher(stage.settings.hold, net, teacher, classes)
    human, conflicts = beliefs.human_words(entry.teacher, classes, said)
    words = Words(human)

    stored = Beliefs(round_, len(classes), with_source=entry.curate.source_cap is not None)
    reading = beliefs.reading(stored, teacher, entry.curate, classes, key)
    judged = accept.Judged.read(teacher, reading, classes)
    asked = accept.ask(entry.curate, judged, classes, key)
    compact = beliefs.compact(stored, words, reading, entry.curate, beliefs.THREADS)
    plan = compact.decide(entry.curate, asked.threshold, beliefs.THREADS)
    decided = Decided(round_, entry, net, classes, stored, reading, compact, asked, plan, conflicts)
    thresholds = accept.report(asked, entry.curate, judged, plan.floor_C.view(np.float32), classes)
    for line in accept.say(thresholds, stage.name):
        print(line)
    _refuse_disasters(decided)
    hold.refuse_labels(stage, entry.teacher, classes, plan.kept_C, asked.missed_C)

    out = stage.output(files.labels(round_))
    files.write_json(thresholds, out / accept.THRESHOLDS)
    files.write_json(reading.as_dict(), out / files.READING)
    counted = _write(decided, out / "labels.parquet")
    unknown = len(words) - words.met
    stage.summary(**counted, unknown_decisions=unknown, unreachable_classes=int(asked.missed_C.sum()))
    if unknown:
        print(f"curate@{round_}: {unknown} decisions are about images that are not in this pool; they are left alone")


def _write(decided: Decided, path: Path) -> dict[str, Any]:
    """The label table to a file, and its counts, which add up."""
    reasons: Counter[str] = Counter()
    learnt = Counter(dict.fromkeys(decided.classes, 0))
    copies = images = 0
    with files.table_writer(path, files.LABEL_TABLE) as writer:
        for table in _label_table(decided):
            writer.write_table(table)
            images += table.num_rows
            reasons.update(_counts(table["reason"]))
            shown = table.filter(compute.greater(table["copies"], 0))
            copies += compute.sum(shown["copies"]).as_py() or 0
            learnt.update(_counts(shown["label"]))
    if sum(reasons.values()) != images or sum(learnt.values()) != int(decided.plan.kept_C.sum()):
        raise AssertionError(f"{images} pool images, reasons {reasons}, kept {learnt}, planned {decided.plan.kept_C}")
    kept = {"kept": sum(learnt.values()), "copies": copies, "per_class": dict(learnt)}
    return {"pool": images, "reasons": dict(sorted(reasons.items())), **kept}


def _label_table(decided: Decided) -> Iterator[pa.Table]:
    """The label table in blocks of consecutive rows: pool images, and those that the split took out."""
    soft = decided.entry.curate.labels == "soft" or decided.asked.soft_C.any()
    disputed = pa.array(sorted(decided.conflicts), pa.string())
    dealer, first = Dealer(decided.plan), 0
    for block in decided.stored.blocks() if soft else decided.stored.pool():
        pool, prob_BC = (block.pool, block.prob_BC) if isinstance(block, beliefs.Block) else (block, None)
        ours = compute.equal(pool["status"], "pool").to_numpy()
        rows = slice(first, first + int(ours.sum()))
        columns = _columns(decided, dealer, rows, prob_BC)
        first = rows.stop
        place = pa.array(np.cumsum(ours) - 1, mask=~ours)
        columns = {name: column.take(place) for name, column in columns.items()}
        columns["copies"] = columns["copies"].fill_null(0)
        columns["source"] = columns["source"].fill_null("")
        if decided.conflicts:
            in_dispute = compute.and_(compute.is_in(_one(pool["image_id"]), value_set=disputed), place.is_valid())
            columns["reason"] = compute.if_else(in_dispute, decisions.CONFLICT, columns["reason"])
        columns["reason"] = compute.coalesce(columns["reason"], _one(pool["status"]))
        yield pa.table({"image_id": _one(pool["image_id"]), **columns}, schema=files.LABEL_TABLE)


def _columns(decided: Decided, dealer: Dealer, rows: slice, prob_BC: np.ndarray | None) -> dict[str, Column]:
    """All columns but image_id, of consecutive images with the status `pool`."""
    label_B, key_B = decided.compact.label_N[rows], decided.compact.key_N[rows]
    copies_B, reason_B = dealer.deal(label_B, key_B)
    reason_B[(reason_B == KEPT) & decided.asked.soft_C[label_B]] = KEPT_SOFT
    reason: Column = pa.array(REASONS).take(reason_B.astype(np.int64))
    by_people = compute.starts_with(reason, "human")
    rejected = compute.equal(reason, "human_rejected").to_numpy(zero_copy_only=False)
    label: Column = pa.array(label_B, pa.int32(), mask=rejected)
    return {
        "label": pa.array(decided.classes).take(label),
        "confidence": pa.array(confidence(key_B)),
        "soft": _soft(decided, prob_BC, reason_B),
        "copies": pa.array(copies_B),
        "round": pa.repeat(decided.round, len(label_B)),
        "source": compute.if_else(by_people, "human", f"teacher:{decided.teacher}"),
        "reason": reason,
    }


def _soft(decided: Decided, prob_BC: np.ndarray | None, reason_B: np.ndarray) -> Column:
    """The distributions to learn, and null where there is none: computed again, for the kept ones alone."""
    if prob_BC is None:
        return pa.nulls(len(reason_B), pa.list_(pa.float32()))
    kept_B = (reason_B == KEPT_SOFT) | ((reason_B == KEPT) & (decided.entry.curate.labels == "soft"))
    kept_KC = decided.reading.soft(prob_BC[kept_B])
    offset: Column = pa.array(np.concatenate([[0], np.cumsum(kept_B) * kept_KC.shape[1]]), pa.int32())
    missing: Column = pa.array(~kept_B)
    return pa.ListArray.from_arrays(offset, pa.array(kept_KC.ravel()), mask=missing)


def _counts(column: Column) -> dict[str, int]:
    return {found["values"]: found["counts"] for found in compute.value_counts(column).to_pylist()}


def _one(column: Column) -> Column:
    return pa.concat_arrays(column.chunks)


def _refuse_disasters(decided: Decided) -> None:
    """Stop before a student learns from nothing, or from one class alone (RELIABILITY 5.6)."""
    settings, key = decided.entry.curate, f"rounds.{decided.round}.curate"
    kept_C = decided.plan.kept_C
    if not kept_C.any():
        raise _nothing_kept(decided, settings, key)
    share_C = kept_C / kept_C.sum()
    top = int(share_C.argmax())
    # Halfway between an even share and everything: two classes may stand 75 to 25, ten may not stand 56 to 44.
    allowed = (1 + 1 / len(share_C)) / 2 if settings.max_share is None else settings.max_share
    if share_C[top] > allowed:
        what = f"{share_C[top]:.0%} of the kept pseudo-labels say {decided.classes[top]!r}, {key}.max_share allows "
        what += f"{allowed:.0%}: either the teacher has collapsed or the pool is that skewed"
        fix = f"if the pool really is so, raise {key}.max_share; else label more images of the other classes"
        raise Held("class_collapse", what, fix)


def _nothing_kept(decided: Decided, settings: Curate, key: str) -> Held:
    _, reason_N = Dealer(decided.plan).deal(decided.compact.label_N, decided.compact.key_N)
    if (reason_N == SOURCE_CAP).any():
        what = f"{key}.source_cap = {settings.source_cap} leaves nothing: too few sources have images that pass the "
        what += "threshold for each to stay below that share"
        return Held("no_labels_accepted", what, f"raise {key}.source_cap, or lower {key}.threshold")
    if settings.target_precision is not None:
        what = f"no class reaches {key}.target_precision = {settings.target_precision}; the lines above say what each "
        what += "of them lacks"
        fix = f"hold out more labels (split.calib), lower the target, or set {key}.unreachable: soft"
        return Held("no_labels_accepted", what, fix)
    best = np.sort(confidence(decided.compact.key_N))[::-1]
    offers = ", ".join(
        f"{best[math.ceil(len(best) * share) - 1]:.3f} would keep {share:.0%}" for share in (0.1, 0.5, 0.9)
    )
    what = f"no pseudo-label reaches {key}.threshold = {settings.threshold}; the most confident has {best[0]:.3f}"
    return Held("no_labels_accepted", what, f"lower {key}.threshold ({offers}), or give the teacher more labels")
