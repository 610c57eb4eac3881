"""Section `distilled`: what the champion was made into for deployment, beside the champion and what it added."""

from typing import Any

from tasks import files, wording
from tasks.sections.material import Material


def section(run: Material) -> dict[str, Any] | None:
    """A table for each net of `distill`; None where the settings name none."""
    found = [_net(run, name) for name in run.settings.distill]
    nets = [net for net in found if net]
    return {"nets": nets} if nets else None


def _net(run: Material, name: str) -> dict[str, Any] | None:
    if not (folder := run.artefact(files.distilled(name))):
        return None
    net: dict[str, Any] = files.read_json(folder / "distilled.json")
    return net | {"speed": files.read_json(folder / "speed.json"), "verdicts": _verdicts(net)}


def _verdicts(net: dict[str, Any]) -> list[str]:
    """What the champion added and what was lost, paired, on the gate's images."""
    if not (gate := net["gate"]):
        return ["Not compared: there are no images for it (split.gate)."]
    said = []
    for role, who in (("champion", f"the champion {net['champion']['key']}"), ("alone", "the same net without it")):
        change, low, high = (wording.points(gate[f"over_{role}"][key]) for key in ("points", "low", "high"))
        verdict = gate[f"over_{role}"]["verdict"]
        said.append(f"Against {who}: {change} points (95 % interval {low} to {high}): {verdict}.")
    return said
