"""The panel with the map of the images: points of one colour are of one class, round or reason.

FiftyOne's own Embeddings panel shows the same points, but opens with a list of runs and forgets the colour each time
(1.22.1), so that no workspace can lead to a coloured map.
"""

from collections import Counter
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from tasks.review import embedding_map, workspaces
from tasks.review.plugin import acts
from tasks.review.plugin.panel import column

PLOT = "map"
MOST = 20  # values with a colour of their own, the commonest first
REST = "#555555"
HINT = (
    "Draw around points to see them in the grid, and click a name to hide or show its points. Double-click: all again."
)
LAYOUT = {
    "autosize": True,
    "dragmode": "lasso",
    "height": 620,
    "showlegend": True,
    "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
    "legend": {"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}  # above, not beside
    | {"font": {"color": "#cccccc"}, "itemsizing": "constant"},
    "xaxis": {"visible": False},
    "yaxis": {"visible": False, "scaleanchor": "x"},
    "hovermode": "closest",
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "uirevision": PLOT,  # what was hidden or drawn around stays so
}


class MapPanel(foo.Panel):  # type: ignore[misc]
    """FiftyOne calls `render` after each of the other methods."""

    @property
    def config(self) -> Any:
        """Beside the grid."""
        return foo.PanelConfig(name=workspaces.MAP_PANEL, label="Map", icon="bubble_chart", surfaces="grid")

    def on_load(self, ctx: Any) -> None:
        """Draw it in the colours of its workspace."""
        if _has_map(ctx):
            ctx.panel.set_data(PLOT, _traces(ctx.dataset, _field(ctx)))

    def on_color(self, ctx: Any) -> None:
        """Other colours were chosen."""
        ctx.panel.set_state("color", ctx.params["value"])
        self.on_load(ctx)

    def on_selected(self, ctx: Any) -> None:
        """Points were drawn around: the grid shows them."""
        if found := [point["id"] for point in ctx.params.get("data") or ()]:
            ctx.ops.set_view(ctx.dataset.select(found))

    def on_double_click(self, ctx: Any) -> None:
        """The grid shows all again."""
        ctx.ops.clear_view()

    def render(self, ctx: Any) -> Any:
        """The panel as it is now."""
        panel = types.Object()
        if not _has_map(ctx):
            panel.md("There is no map of this data set: the nets are not here, or review.features is 0.", name="none")
            return types.Property(panel)
        fields = _fields(ctx.dataset)
        menu = types.DropdownView(label="colour")
        for name, field in fields.items():
            menu.add_choice(field, label=name.removeprefix("map by "))
        panel.enum("color", list(fields.values()), default=_field(ctx), view=menu, on_change=self.on_color)
        config = {"displaylogo": False, "scrollZoom": True}
        on = {"on_selected": self.on_selected, "on_double_click": self.on_double_click}
        panel.plot(PLOT, layout=LAYOUT, config=config, **on)
        panel.md(HINT, name="hint")
        return types.Property(panel, view=column())


def _color(place: int, of: int) -> str:
    """Even steps around the circle of hues, every other one lighter; FiftyOne's pool is as dark as the page."""
    return f"hsl({360 * place // of}, 75%, {55 + 15 * (place % 2)}%)"


def _has_map(ctx: Any) -> bool:
    return acts.is_review(ctx) and embedding_map.MAP in ctx.dataset.list_brain_runs()


def _fields(data: Any) -> dict[str, str]:
    """Name → field to colour by; the queue's reasons only where there is a queue."""
    return embedding_map.COLORED | (embedding_map.BY_QUEUE if data.count("queue_rank") else {})


def _field(ctx: Any) -> str:
    return str(ctx.panel.state.color or next(iter(embedding_map.COLORED.values())))


def _traces(data: Any, field: str) -> list[dict[str, Any]]:
    """One set of points a value of the field; first, in grey, those that have none or a rare one."""
    columns = zip(*data.values(["id", field, "review.label"]), strict=True)
    about = {sample: (value, label or "") for sample, value, label in columns}
    results = data.load_brain_results(embedding_map.MAP)
    points = [(i, x, y) for i, (x, y) in zip(results.sample_ids, results.points.tolist(), strict=True) if i in about]
    often = Counter(about[i][0] for i, _, _ in points if about[i][0]).most_common(MOST)
    colors = {value: _color(place, len(often)) for place, value in enumerate(sorted(value for value, _ in often))}
    groups: dict[str | None, list[tuple[str, float, float]]] = {None: []} | {value: [] for value in sorted(colors)}
    for point in points:
        value = about[point[0]][0]
        groups[value if value in colors else None].append(point)
    return [
        {
            "type": "scatter",  # not WebGL, which a browser may lack: 5,000 points go without
            "mode": "markers",
            "name": f"{value or 'none, or a rare one'} ({len(group)})",
            "marker": {"color": colors.get(value, REST), "size": 6, "opacity": 0.85},
            "ids": [sample for sample, _, _ in group],
            "x": [x for _, x, _ in group],
            "y": [y for _, _, y in group],
            "text": [about[sample][1] for sample, _, _ in group],
            "hoverinfo": "text+name",
        }
        for value, group in groups.items()
        if group
    ]
