"""How the App's panels lie: a review opens with its panel beside the pictures, a map of the images is one click away.

FiftyOne calls such a layout a workspace and keeps it with the data set; the App's address names it. A layout sent to a
page that is still loading gets lost (fiftyone 1.22.1).
"""

from collections.abc import Mapping
from typing import Any

REVIEW = "review"  # a name and an address
PANEL, MAP_PANEL = "understudy_review", "understudy_map"  # tasks/review/plugin: panel.py, map_panel.py
SIZES = [0.66, 0.34]
HALVES = [0.5, 0.5]


def save(fo: Any, data: Any) -> None:
    """The workspace that a review opens with."""
    words = "The pictures, and beside them buttons, progress and lineage"
    data.save_workspace(REVIEW, _beside(fo, [fo.Panel(type=PANEL)], SIZES), description=words)


def save_maps(fo: Any, data: Any, fields: Mapping[str, str]) -> None:
    """A workspace with a map of the images for each name, coloured by the field; the review's panel is a tab of it."""
    for name, field in fields.items():
        panels = [fo.Panel(type=MAP_PANEL, state={"state": {"color": field}}), fo.Panel(type=PANEL)]
        words = f"The images as points, near where a net sees them alike, coloured by {field}"
        data.save_workspace(name, _beside(fo, panels, HALVES), description=words)


def _beside(fo: Any, panels: list[Any], sizes: list[float]) -> Any:
    """The pictures, and panels on their right as tabs."""
    left = fo.Panel(type="Samples", pinned=True)
    spaces = [fo.Space(children=some, active_child=some[0].component_id) for some in ([left], panels)]
    return fo.Space(children=spaces, orientation="horizontal", sizes=sizes)
