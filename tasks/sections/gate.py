"""Section `gate`: which student took its teacher's place, how that was decided, and which net is in use."""

from typing import Any

from tasks import files
from tasks.champions import DECISION
from tasks.sections.material import Material

WORDS = {
    "not_worse": "not worse",
    "worse": "worse",
    "slid": "worse than {anchor}, the last net that was shown not to be worse than its champion",
    "recall": "the recall of a class fell",
    "calibration": "the calibration error grew",
    "cannot_tell": "cannot tell",
    "not_measured": "not measured",
}


def section(run: Material) -> dict[str, Any] | None:
    """One row a round, from the decisions beside the champions; None before there are any."""
    made = [row for round_ in run.settings.rounds if (row := _decision(run, round_)) is not None]
    if not made:
        return None
    deployed = run.artefact(files.CHAMPION)
    return {
        "rows": [_row(one) for one in made],
        "images": made[-1]["n"],
        "settings": made[-1]["settings"],
        "champion": files.read_json(deployed / DECISION)["champion"] if deployed else made[-1]["champion"],
        "rolled_back": files.read_json(deployed / DECISION).get("rolled_back") if deployed else None,
        "stopped": made[-1]["stop"],
        "missing": [round_ for round_ in run.settings.rounds if round_ not in run.rounds],
    }


def _decision(run: Material, round_: str) -> dict[str, Any] | None:
    folder = run.artefact(files.champion(round_))
    return files.read_json(folder / DECISION) if folder else None


def _row(made: dict[str, Any]) -> dict[str, Any]:
    """What the table says about a round; None where nothing was measured."""
    accuracy, since, ece = made.get("accuracy"), made.get("since"), made.get("calibration")
    fallen = [row for row in made.get("recalls", []) if row["is_shown"]]
    return {
        "round": made["round"],
        "before": made["before"],
        "promoted": made["promoted"],
        "verdict": made["verdict"],
        "rules": [WORDS[rule].format(anchor=made.get("anchor")) for rule in made["rules"]],
        "by": made["by"] if isinstance(made["by"], dict) else None,
        "difference": accuracy and [100 * accuracy[name] for name in ("difference", "low", "high")],
        "since": since and [100 * since[name] for name in ("difference", "low", "high")],
        "anchor": made.get("anchor"),
        "resolution": 100 * made["resolution"] if accuracy else None,
        "needed": made.get("needed"),
        "fallen": [f"{row['class']} ({row['lost']} lost, {row['gained']} gained of {row['n']})" for row in fallen],
        "ece": ece and [ece["champion"], ece["student"]],
    }
