"""The report's charts as inline SVG. Text and strokes take the page's colours, so one chart serves light and dark."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK, FAINT = "#010101", "#020202"  # stand-ins, replaced by the page's own variables
SERIES = tuple(f"#0303{i:02x}" for i in range(1, 9))
SIZE = (3.7, 2.7)  # inches: about a phone's width, so that 9 pt text stays readable there
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.4,
    "legend.frameon": False,
}


@dataclass(frozen=True, slots=True)
class Share:
    """A named share between 0 and 1 with its interval."""

    name: str
    value: float
    low: float
    high: float


def accuracies(shares: Sequence[Share]) -> str:
    """One dot with its 95 % interval a net, in per cent, best read from top to bottom."""
    with rc_context(STYLE):
        figure, axes = _axes("accuracy")
        for row, share in enumerate(shares):
            colour = SERIES[row % len(SERIES)]
            axes.plot(
                [100 * share.low, 100 * share.high], [row, row], color=colour, linewidth=2, solid_capstyle="round"
            )
            axes.plot([100 * share.value], [row], "o", color=colour, markersize=7)
        axes.set_yticks(range(len(shares)), [share.name for share in shares])
        axes.set_ylim(len(shares) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlabel("right on the test, % (95 % interval)")
        return as_svg(figure, "accuracy")


def seeds(accuracy: dict[str, dict[int, float]]) -> str:
    """Accuracy of each net under each seed: a thin line a seed, which keeps pairs together, a large dot the mean."""
    with rc_context(STYLE):
        figure, axes = _axes("seeds")
        nets = list(accuracy)
        for seed in sorted({seed for values in accuracy.values() for seed in values}):
            line = [(at, 100 * accuracy[net][seed]) for at, net in enumerate(nets) if seed in accuracy[net]]
            axes.plot(*zip(*line, strict=True), "o-", color=FAINT, linewidth=0.9, markersize=3)
        for at, net in enumerate(nets):
            values = list(accuracy[net].values())
            axes.plot([at], [100 * sum(values) / len(values)], "o", color=SERIES[at % len(SERIES)], markersize=8)
        axes.set_xticks(range(len(nets)), [net.replace(" ", "\n").replace("-", "-\n") for net in nets])
        axes.set_xlim(-0.5, len(nets) - 0.5)
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="y")
        axes.set_ylabel("right on the test, %")
        return as_svg(figure, "seeds")


def training(curves: dict[str, list[tuple[float, float]]]) -> str:
    """Loss over steps of each net; the same colours as in `accuracies`."""
    with rc_context(STYLE):
        figure, axes = _axes("training")
        for row, (name, points) in enumerate(curves.items()):
            colour = SERIES[row % len(SERIES)]
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.6, label=name)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.set_xlabel("step")
        axes.set_ylabel("training loss")
        if any(curves.values()):
            axes.legend(fontsize=8, handlelength=1.2)
        return as_svg(figure, "training")


def lines(
    name: str,
    series: Sequence[tuple[str, int, Sequence[tuple[float, float]]]],
    x: str,
    y: str,
    dots: bool = True,
) -> str:
    """Shares in per cent over x, a line for each (name, colour, points), with dots where every point counts."""
    with rc_context(STYLE):
        figure, axes = _axes(name)
        for label, colour, points in series:
            if points:
                across, shares = zip(*points, strict=True)
                shown, style = [100 * share for share in shares], "o-" if dots else "-"
                colour_name = SERIES[colour % len(SERIES)]
                axes.plot(across, shown, style, color=colour_name, linewidth=1.6, markersize=4, label=label)
        axes.grid(axis="y")
        # Runs, severities, per cent: nothing is half a step, and one run is one tick.
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.legend(fontsize=8, handlelength=1.2)
        return as_svg(figure, name)


def reliability(bins: Sequence[tuple[float, float, int]], colour: int, name: str = "reliability") -> str:
    """Share right over mean confidence of equally large bins; on the diagonal a net is as sure as it is right."""
    with rc_context(STYLE):
        figure, axes = _axes(name)
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        confidence, right, _ = zip(*bins, strict=True)
        axes.plot(confidence, right, "o-", color=SERIES[colour % len(SERIES)], linewidth=1.4, markersize=5)
        floor = max(0.0, min(*confidence, *right) - 0.05)
        axes.set_xlim(floor, 1.02)
        axes.set_ylim(floor, 1.02)
        axes.grid()
        axes.set_xlabel("confidence")
        axes.set_ylabel("share right")
        return as_svg(figure, name)


def _axes(name: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_gid(name)
    return figure, axes


def as_svg(figure: Figure, name: str) -> str:
    """The bare <svg> element: the same bytes every time, no outside names, colours by the page's variables."""
    stream = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(stream, format="svg", metadata=nothing)
    whole = stream.getvalue()
    head, body = whole[whole.index("<svg") :].split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box, "matplotlib gives every figure a viewBox"
    body = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body).replace("xlink:href", "href")
    body = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", body)
    for stand_in, variable in ((INK, "--ink"), (FAINT, "--faint"), *((c, f"--s{i}") for i, c in enumerate(SERIES))):
        body = body.replace(stand_in, f"var({variable})")
    return f"<svg {box.group()}>{body}"
