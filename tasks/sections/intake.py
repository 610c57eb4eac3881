"""Section `intake`: what came in, what was refused and why, and what was kept apart so that nothing leaks."""

from collections import Counter
from typing import Any

from tasks import files
from tasks.sections.material import Material, column


def section(run: Material) -> dict[str, Any]:
    """Counts of accepted and quarantined files, and of images taken out as copies of held-out or labeled ones."""
    catalogs = (files.catalog(source) / "images.parquet" for source in run.sources)
    reasons = [r for s in run.sources for r in column(files.quarantine(s) / "quarantine.parquet", "reason")]
    return {
        "accepted": sum(map(files.rows, catalogs)),
        "quarantined": len(reasons),
        "reasons": Counter(sorted(reasons)).most_common(),
        "leaks": _leaks(),
        "copies": run.settings.split.duplicates,
    }


def _leaks() -> dict[str, int]:
    status = Counter(column(files.SPLIT / "pool.parquet", "status"))
    summary = files.read_json(files.SPLIT / files.SUMMARY)
    return {
        "held_out": status["held_out"] + status["near_held_out"],
        "duplicate": status["duplicate"] + status["near_duplicate"],
        "labeled": summary.get("leaks", 0) + summary.get("near_leaks", 0),
        "conflict": status["conflict"],
    }
