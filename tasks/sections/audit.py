"""Section `audit`: what people found the accepted labels to be worth, by a blind sample; else that nobody looked."""

from typing import Any

from tasks import audit_card, audit_sample, audits, files
from tasks.sections.material import Material


def section(run: Material) -> dict[str, Any] | None:
    """The audit card of each round, and what held-out labels say where there was no audit."""
    said = audits.read(run.plain(files.AUDIT))
    cards = []
    for round_ in run.rounds:
        labels, table = run.tables[round_], audit_sample.table_hash(round_)
        found = audit_card.card(round_, labels, table, said, run.settings.seed, run.settings.audit.at_least)
        thresholds = files.labels(round_) / "thresholds.json"
        held_out = files.read_json(thresholds) if thresholds.exists() else None
        cards.append(found | {"estimate": audit_card.estimate(held_out, labels)})
    return {"cards": cards, "spent": audits.spent(said)}
