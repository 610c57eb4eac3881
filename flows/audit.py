"""`understudy audit`: what the command does and what it prints."""

from typing import Any

from tasks import audit_card, audit_sample, audits, files
from tasks.audit_card import Card
from tasks.errors import UserError
from tasks.params import Settings
from tasks.wording import count, percent


def show(settings: Settings, round_: str) -> Card:
    """The card of a round's label table as it is now. UserError where there is no such table."""
    if round_ not in settings.rounds:
        what = f"{round_!r} is no round of params.yaml"
        raise UserError("unknown_round", what, f"use one of {', '.join(settings.rounds)}")
    folder = files.labels(round_)
    if not folder.is_dir():
        raise UserError("missing_input", f"{folder} does not exist", f"`dvc repro curate@{round_}`, then audit")
    files.verify(folder)
    labels = files.read_table(folder / "labels.parquet", ["image_id", "label", "confidence", "copies", "source"])
    table = audit_sample.table_hash(round_)
    found = audit_card.card(round_, labels, table, audits.read(), settings.seed, settings.audit.at_least)
    thresholds = folder / "thresholds.json"
    held_out = files.read_json(thresholds) if thresholds.exists() else None
    return found | {"estimate": audit_card.estimate(held_out, labels)}


def answered(settings: Settings, round_: str) -> bool:
    """Whether the ledger has answers about the label table of now."""
    if round_ not in settings.rounds or not (files.labels(round_) / files.MANIFEST).exists():
        return False
    table = audit_sample.table_hash(round_)
    return any((row.round, row.table) == (round_, table) for row in audits.read())


def lines(card: Card) -> list[str]:
    """The card's sentences, without its table of classes."""
    said = []
    if card["older"]:
        said.append(
            f"{card['older']} audits of older label tables of {card['round']} are in the ledger and not counted"
        )
    if not card["measured"]:
        head = f"{card['round']}: precision of the {count(card['accepted'])} accepted labels: not measured"
        return [head, *_estimate(card["estimate"]), *said]
    found, states = card["overall"], card["states"]
    head = f"{card['round']}: {percent(found['share'])} of the {count(card['accepted'])} accepted labels are right"
    head += (
        f" (95 % interval {percent(found['low'])} to {percent(found['high'])}, at least {percent(found['at_least'])})"
    )
    rest = ", ".join(f"{n} {name}" for name, n in states.items() if n)
    for person in card["reviewers"]:
        said.append(_reviewer(person))
    return [head, f"{card['n']} draws of {card['images']} images: {rest}", *said]


def class_rows(card: Card) -> list[dict[str, object]]:
    """The table of classes."""
    return [
        {
            "class": row["class"],
            "accepted": count(row["accepted"]),
            "n": row["n"],
            "right": row["right"],
            "wrong": row["wrong"],
            "open": row["unknown"],
            "precision": "" if row["share"] is None else percent(row["share"]),
            "exact 95 %": _range(row["low"], row["high"]),
            "Wilson": _range(*row["display"]),
            "at least": percent(row["at_least"]),
            f">= {percent(card['at_least'])}": "shown" if row["shown"] else "no",
        }
        for row in card.get("classes", ())
    ]


def _range(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _reviewer(person: dict[str, Any]) -> str:
    text = f"{person['who']}: {person['answers']} answers; "
    if not person["planted"]:
        return text + "no planted image answered, so nobody knows how good they are"
    caught = f"{person['caught']} of {person['planted']} planted images named as what they are"
    return f"{text}{caught} (95 % interval {percent(person['low'])} to {percent(person['high'])})"


def _estimate(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["  no estimate either: no label was held out from the teacher (split.calib, calibrate.folds)"]
    share = "too few to say" if found["share"] is None else percent(found["share"])
    text = f"  estimated from {found['n']} held-out labeled images that would be accepted: {share}"
    return [f"{text}, if the pool is like the labeled images"]
