"""Section `drift`: is the pool what the labels are of, and did the labels move between runs."""

from typing import Any

from tasks import figures, files
from tasks.sections.material import Material

SHOWN_CLASSES = 20  # the ones that changed most
# How often a pool with so many foreign images raised an alarm, by images in the reference (docs/trust.md, "Measured":
# means over foreign sets, the worse and the better of digits and CIFAR-10); 0 for a cross-fitted reference.
FOUND = (
    (1000, "every time", "in about three of four trials", "in one of five"),
    (400, "every time", "in 80 to 96 % of trials", "in one of five"),
    (100, "in 71 to 94 % of trials", "in 35 to 48 %", "hardly ever"),
    (1, "in 40 to 73 % of trials", "in 5 to 19 %", "hardly ever"),
    (0, "in half of the trials", "in 5 %", "never"),
)


def section(run: Material) -> dict[str, Any] | None:
    """What drift@rK found in each round; None where it did not run."""
    found, history = {}, {}
    for round_ in run.rounds:
        if folder := run.artefact(files.drift(round_)):
            found[round_] = files.read_json(folder / "drift.json")
            history[round_] = files.read_json(folder / "history.json")
    if not found:
        return None
    return {
        "alarms": [(round_, alarm["text"]) for round_, drift in found.items() for alarm in drift["alarms"]],
        "groups": [_group(round_, row) for round_, drift in found.items() for row in drift["shifts"]],
        "found_by": found_by([row for drift in found.values() for row in drift["shifts"]]),
        "reseeded": [round_ for round_, drift in found.items() if drift.get("reseeded")],
        "unchecked": [round_ for round_, drift in found.items() if not drift["shifts"]],
        "runs": [(round_, len(runs), _shares(found[round_]["relabel"])) for round_, runs in history.items()],
        "chart": _chart(run, history),
        "classes": _classes(found),
    }


def found_by(shifts: list[dict[str, Any]]) -> str:
    """What a reference of this size found in our trials, in words, which were of whole pools; the largest counts."""
    sizes = [row["reference"] if row["exact"] else 0 for row in shifts if row["source"] is None and not row["new"]]
    if not sizes:
        return ""
    size = max(sizes)
    half, quarter, tenth = next(words for least, *words in FOUND if size >= least)
    what = f"a reference of about {size:,} images" if size else "such a reference (nets of other labels, or a student)"
    return (
        f"In trials with {what}, a pool half of foreign images was found {half}, "
        f"one with a quarter {quarter}, with a tenth {tenth}."
    )


def _group(round_: str, row: dict[str, Any]) -> dict[str, Any]:
    name = "whole pool" if row["source"] is None else f"source {row['source']}"
    return row | {"round": round_, "name": f"new in {name}" if row["new"] else name}


def _shares(relabel: dict[str, Any] | None) -> dict[str, Any] | None:
    """The counts of a run against the one before, with shares that are None where there is nothing to share."""
    if relabel is None:
        return None
    parts = {"flips": "compared", "confident_flips": "confident"}
    return relabel | {
        f"{part}_share": relabel[part] / relabel[of] if relabel[of] else None for part, of in parts.items()
    }


def _chart(run: Material, history: dict[str, list[dict[str, Any]]]) -> str | None:
    """Labels that changed, by run; the students' colours. None where no round has a second run."""
    series = [
        (round_, run.rounds.index(round_) + 2, [(n, entry["flips"]) for n, entry in enumerate(runs, start=1) if n > 1])
        for round_, runs in history.items()
        if len(runs) > 1
    ]
    return figures.lines("drift", series, "run", "labels that changed, %") if series else None


def _classes(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The classes of the last round that has an earlier run, those that changed most first; none where nothing did."""
    relabels = [drift["relabel"] for drift in found.values() if drift["relabel"]]
    rows = [row for row in relabels[-1]["per_class"] if row["left"] or row["joined"]] if relabels else []
    return sorted(rows, key=lambda row: -(row["left"] + row["joined"]))[:SHOWN_CLASSES]
