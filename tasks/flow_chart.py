"""How labels flow from round to round, as an alluvial diagram in inline SVG."""

from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from tasks.figures import FAINT, INK, SERIES, STYLE, as_svg

Flow = dict[tuple[str, str], int]  # images by label before and after; "" = not learnt from
NODE, GAP = 0.06, 0.012  # width of a node in distances of columns, space between nodes in heights of the pool
LEAST = 0.015  # of the pool: a smaller node has no room for its name
NO_LABEL = "not learnt"


def flow(columns: Sequence[str], flows: Sequence[Flow], names: Sequence[str]) -> str:
    """A column a round, a band for every label and change of label; its height is the number of images.

    `flows[i]` leads from column i to column i + 1. A band has the colour of the label it comes from; what was not
    learnt from is grey and lies below.
    """
    labels = [*names, ""]
    total = max(sum(it.values()) for it in flows) or 1
    with rc_context(STYLE):
        figure = Figure(figsize=(4.2, max(3.0, 0.27 * len(labels) + 1)), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.set_axis_off()
        tops = [_tops(flows[max(i - 1, 0)], labels, after=i > 0, total=total) for i in range(len(columns))]
        for i, it in enumerate(flows):
            _bands(axes, i, it, labels, (tops[i], tops[i + 1]), total)
        for i, name in enumerate(columns):
            sizes = _sizes(flows[max(i - 1, 0)], labels, after=i > 0)
            _column(axes, i, name, labels, sizes, tops[i], total, last=i == len(columns) - 1)
        aside = 0.55 * max(len(columns) - 1, 1)
        axes.set_xlim(-aside, len(columns) - 1 + aside)
        axes.set_ylim(1 + GAP * len(labels) + 0.05, -0.08)
        return as_svg(figure, "flow")


def _sizes(of: Flow, labels: Sequence[str], after: bool) -> list[int]:
    return [sum(n for pair, n in of.items() if pair[after] == label) for label in labels]


def _tops(of: Flow, labels: Sequence[str], after: bool, total: int) -> dict[str, float]:
    """Where each label's node begins, from the top."""
    top, found = 0.0, {}
    for label, n in zip(labels, _sizes(of, labels, after), strict=True):
        found[label] = top
        top += n / total + (GAP if n else 0)
    return found


def _colour(labels: Sequence[str], label: str) -> str:
    return SERIES[labels.index(label) % len(SERIES)] if label else FAINT


def _column(
    axes: Axes,
    i: int,
    name: str,
    labels: Sequence[str],
    sizes: list[int],
    tops: dict[str, float],
    total: int,
    last: bool,
) -> None:
    """The nodes of a round, named on the outer columns."""
    axes.text(i, -0.03, name, ha="center", va="bottom", color=INK)
    for label, n in zip(labels, sizes, strict=True):
        if not n:
            continue
        box = (i - NODE / 2, tops[label])
        axes.add_patch(Rectangle(box, NODE, n / total, color=_colour(labels, label), linewidth=0))
        if (i == 0 or last) and n / total >= LEAST:
            side: dict[str, Any] = {"x": i - NODE, "ha": "right"} if i == 0 else {"x": i + NODE, "ha": "left"}
            shown = (label[:14] or NO_LABEL).replace("$", r"\$")
            axes.text(y=tops[label] + n / total / 2, s=f"{shown} {n:,}", va="center", fontsize=8, color=INK, **side)


def _bands(
    axes: Axes, i: int, of: Flow, labels: Sequence[str], tops: tuple[dict[str, float], dict[str, float]], total: int
) -> None:
    """Bands from one column to the next, in the order of the labels on both sides, so that none crosses at its end."""
    left, right = dict(tops[0]), dict(tops[1])
    x0, x1 = i + NODE / 2, i + 1 - NODE / 2
    middle = (x0 + x1) / 2
    for old in labels:
        for new in labels:
            if not (height := of.get((old, new), 0) / total):
                continue
            a, b = left[old], right[new]
            left[old], right[new] = a + height, b + height
            points = [(x0, a), (middle, a), (middle, b), (x1, b), (x1, b + height)]
            points += [(middle, b + height), (middle, a + height), (x0, a + height), (x0, a)]
            codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
            band = PathPatch(Path(points, codes), facecolor=_colour(labels, old or new), linewidth=0)
            band.set_alpha(0.4 if old == new else 0.65)
            axes.add_patch(band)
