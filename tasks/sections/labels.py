"""Section `labels`: what became of every pool image in every round, and how right the learnt labels are."""

from collections import Counter
from typing import Any

from tasks import wording
from tasks.sections.material import Material


def section(run: Material) -> dict[str, Any]:
    """Counts per reason and round, which add up to the pool (C7)."""
    counts = {r: Counter(table["reason"].to_pylist()) for r, table in run.tables.items()}
    reasons = [name for name in wording.REASONS if any(name in c for c in counts.values())]
    for round_, table in run.tables.items():
        if sum(counts[round_][name] for name in reasons) != table.num_rows:
            raise AssertionError(f"{round_}: {table.num_rows} pool images, reasons {dict(counts[round_])}")
    return {
        "rounds": run.rounds,
        "reasons": [(wording.REASONS[name], [counts[r][name] for r in run.rounds]) for name in reasons],
        "pool": [table.num_rows for table in run.tables.values()],
        "scores": [run.scores[r]["labels"] for r in run.rounds],
    }
