"""Section `intake`: what came in, what was refused and why, and what was kept apart so that nothing leaks."""

from collections import Counter
from typing import Any

from tasks import files
from tasks.sections.material import Material, column

HELD_OUT = ("test", "gate", "calib")


def section(run: Material) -> dict[str, Any]:
    """Counts of accepted, quarantined, held-out and rejected images, and of copies taken out before learning."""
    catalogs = (files.catalog(source) / "images.parquet" for source in run.sources)
    summary = files.read_json(files.SPLIT / files.SUMMARY)
    refused = _refused(run.sources)
    return {
        "accepted": sum(map(files.rows, catalogs)),
        "quarantined": sum(n for _, n, _ in refused),
        "refused": refused,
        "held_out": {name: summary.get(name, 0) for name in HELD_OUT},
        "rejected": Counter(run.tables[run.final]["reason"].to_pylist())["human_rejected"],
        "leaks": _leaks(summary),
        "copies": run.settings.split.duplicates,
    }


def _refused(sources: list[str]) -> list[tuple[str, int, str]]:
    """Why, how many files, and the first of them; the most frequent reason first."""
    paths: dict[str, list[str]] = {}
    for source in sources:
        table = files.quarantine(source) / "quarantine.parquet"
        for reason, path in zip(column(table, "reason"), column(table, "path"), strict=True):
            paths.setdefault(reason, []).append(path)
    return sorted(((why, len(found), min(found)) for why, found in paths.items()), key=lambda row: (-row[1], row[0]))


def _leaks(summary: dict[str, int]) -> dict[str, int]:
    status = Counter(column(files.SPLIT / "pool.parquet", "status"))
    return {
        "held_out": status["held_out"] + status["near_held_out"],
        "duplicate": status["duplicate"] + status["near_duplicate"],
        "labeled": summary.get("leaks", 0) + summary.get("near_leaks", 0),
        "conflict": status["conflict"],
    }
