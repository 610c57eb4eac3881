"""The audit card of a round: what people found the accepted labels to be worth, or that nobody looked.

Built from the label table, the ledger and the seed alone: the sample is drawn again, and only answers about it count.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from tasks import audit_sample
from tasks.audit_sample import Sample
from tasks.audits import Said
from tasks.core import audit
from tasks.core.compare import holm

RIGHT, WRONG, DISPUTED, UNSURE, UNANSWERED = "right", "wrong", "disputed", "unsure", "unanswered"
STATES = (RIGHT, WRONG, DISPUTED, UNSURE, UNANSWERED)
Card = dict[str, Any]


def card(round_: str, labels: pa.Table, table: str, said: Iterable[Said], seed: int, at_least: float) -> Card:
    """The card of a label table. `labels`: its rows; `table`: its hash; `said`: the ledger.

    Keys: round, table, accepted (labels), measured, older (audits of other tables of this round, never counted); and
    where measured: n (draws), images, states (draws in each of STATES, adding up to n), overall and classes (Share as
    a dict and more), at_least, needed, reviewers. Where people of one audit were asked for different n, the largest
    counts: a rule that looks at no answer.
    """
    ours = audit_sample.accepted(labels)
    rows = [row for row in said if row.round == round_]
    older = sorted({(row.table, row.n) for row in rows if row.table != table})
    base: Card = {"round": round_, "table": table, "accepted": ours.num_rows, "older": len(older), "measured": False}
    rows = [row for row in rows if row.table == table]
    if not rows or not ours.num_rows:
        return base
    n = max(row.n for row in rows)
    last = {row.of: row for row in rows if row.n == n}
    sample = audit_sample.draw(ours, n, (seed, round_, table, n))
    verdict_of = verdicts(sample, last.values())
    state_M = [verdict_of[image_id] for image_id in sample.image_id_M]
    states = {name: state_M.count(name) for name in STATES}
    return base | {
        "measured": states[RIGHT] + states[WRONG] > 0,
        "n": len(state_M),
        "images": len(verdict_of),
        "states": states,
        **_shares(sample, np.array(state_M, dtype=object), at_least),
        "at_least": at_least,
        "reviewers": [_reviewer(who, list(last.values())) for who in sorted({row.who for row in last.values()})],
    }


def verdicts(sample: Sample, said: Iterable[Said]) -> dict[str, str]:
    """One of STATES for each image of a sample. Who is unsure leaves the word to others; two who name the image
    rightly and wrongly make it disputed, which counts as no answer."""
    label_of = dict(zip(sample.image_id_M, sample.label_M, strict=True))
    heard: dict[str, set[str]] = {image_id: set() for image_id in label_of}
    for row in said:
        if row.image_id in heard and not row.truth:
            word = UNSURE if row.action == "unsure" else RIGHT if row.answer == label_of[row.image_id] else WRONG
            heard[row.image_id].add(word)
    return {image_id: _verdict(words) for image_id, words in heard.items()}


def _verdict(words: set[str]) -> str:
    decided = words - {UNSURE}
    if len(decided) > 1:
        return DISPUTED
    return decided.pop() if decided else UNSURE if words else UNANSWERED


def _shares(sample: Sample, state_M: np.ndarray, at_least: float) -> Card:
    """`overall`, `classes` (empty where the sample is too small to speak of them) and `needed`."""
    H = len(sample.size_H)
    right_H, wrong_H = (np.bincount(sample.stratum_M, state_M == name, H).astype(int) for name in (RIGHT, WRONG))
    n_H = np.bincount(sample.stratum_M, minlength=H)
    unknown_H = n_H - right_H - wrong_H
    overall = asdict(audit.overall(sample.size_H, right_H, wrong_H, unknown_H))
    classes: list[Card] = []
    if sample.class_H[0]:
        p_H = [audit.p_at_least(int(r), int(n), at_least) for r, n in zip(right_H, n_H, strict=True)]
        for h, adjusted in enumerate(holm(p_H)):
            right, wrong, unknown = int(right_H[h]), int(wrong_H[h]), int(unknown_H[h])
            counts = {"class": sample.class_H[h], "accepted": int(sample.size_H[h]), "n": int(n_H[h])}
            counts |= {"right": right, "wrong": wrong, "unknown": unknown}
            shown = {"p": adjusted, "shown": adjusted <= 0.05}
            classes.append(counts | asdict(audit.of_class(right, wrong, unknown)) | shown)
    return {"overall": overall, "classes": classes, "needed": audit.needed(at_least, max(len(classes), 1))}


def _reviewer(who: str, said: Sequence[Said]) -> Card:
    """How one person did on the planted images: caught = named as what they are, fooled = as the wrong label."""
    mine = [row for row in said if row.who == who]
    planted = [row for row in mine if row.truth]
    caught = sum(row.answer == row.truth for row in planted)
    fooled = sum(row.answer == row.label for row in planted)
    counts = {"who": who, "answers": len(mine), "planted": len(planted), "caught": caught, "fooled": fooled}
    return counts | asdict(audit.of_class(caught, len(planted) - caught, 0))


def estimate(thresholds: Card | None, labels: pa.Table) -> Card | None:
    """What held-out labels say of the accepted ones, where nobody looked: right as far as the pool is like them.

    `thresholds`: thresholds.json of the label table. Keys: classes (those accepted, with n, right, precision and low as
    there), n, held_out, share (weighted by what is accepted; None unless every class has held-out images). None where
    nothing was held out.
    """
    if not thresholds or not thresholds["held_out"]:
        return None
    size_of = Counter(audit_sample.accepted(labels)["label"].to_pylist())
    rows = [{"class": name, "accepted": size_of[name], **row} for name, row in thresholds["classes"].items()]
    kept = [row for row in rows if row["accepted"]]
    known = bool(kept) and all(row["n"] for row in kept)
    total = sum(row["accepted"] for row in kept)
    share = sum(row["accepted"] * row["precision"] for row in kept) / total if known else None
    return {"share": share, "n": sum(row["n"] for row in kept), "held_out": thresholds["held_out"], "classes": kept}
