"""Three charts of the last round for a run's page, drawn from data/scores as the report draws them, as data URIs.

Prefect keeps them in its database: small SVG, of which each is refused above 100 KB.
"""

import base64
import re
from collections import Counter
from csv import DictReader
from pathlib import Path

from tasks import files

LARGEST = 100_000  # bytes
MOST_CLASSES = 40  # above it a matrix is a blur, and large
# The report's variables are the page's; a picture alone has these, dark on white.
COLOURS = {"--ink": "#1f2430", "--faint": "#9aa1ad"}
SERIES = ("#2a78d6", "#eb6834", "#2e9e5b", "#8a54c9", "#c2407a", "#0f8fa3", "#b3871c", "#5b6472")
Rows = list[dict[str, str]]


def pictures(root: Path, rounds: list[str]) -> dict[str, str]:
    """By name, `confusion`, `reliability` and `label-flow` of the last of these rounds; what was not measured: none."""
    if not rounds:
        return {}
    last = root / files.scores(rounds[-1])
    drawn = {"confusion": confusion(_rows(last / "confusion.csv")), "reliability": _reliability(last)}
    drawn["label-flow"] = _flow(root, rounds)
    uris = {name: _data_uri(svg) for name, svg in drawn.items() if svg}
    return {name: uri for name, uri in uris.items() if len(uri) <= LARGEST}


def confusion(rows: Rows) -> str:
    """Rows are the true classes, columns what the student said; each row sums to one. Empty where nothing is known."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from tasks.figures import INK, STYLE, as_svg

    counts = Counter((row["actual"], row["predicted"]) for row in rows)
    names = sorted({name for pair in counts for name in pair})
    if not names or len(names) > MOST_CLASSES:
        return ""
    shares = []
    for actual in names:
        n = sum(counts[actual, name] for name in names) or 1
        shares.append([counts[actual, name] / n for name in names])
    with rc_context(STYLE):
        figure = Figure(figsize=(4.2, 4.0), layout="constrained")
        axes = figure.add_subplot()
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1)
        axes.invert_yaxis()
        ticks = [i + 0.5 for i in range(len(names))]
        axes.set_xticks(ticks, names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_yticks(ticks, names)
        axes.set_xlabel("said")
        axes.set_ylabel("true")
        for i, actual in enumerate(names):
            for j, said in enumerate(names):
                if n := counts[actual, said]:
                    colour = "#ffffff" if shares[i][j] > 0.5 else INK
                    axes.text(j + 0.5, i + 0.5, str(n), ha="center", va="center", fontsize=7, color=colour)
        return as_svg(figure, "confusion")


def _reliability(scores: Path) -> str:
    from tasks.figures import reliability

    bins = [(float(r["confidence"]), float(r["accuracy"]), int(r["n"])) for r in _rows(scores / "reliability.csv")]
    return reliability(bins, 0) if bins else ""


def _flow(root: Path, rounds: list[str]) -> str:
    from tasks.flow_chart import flow

    flows = []
    for round_ in rounds:
        rows = _rows(root / files.scores(round_) / "flow.csv")
        flows.append({(row["before"], row["after"]): int(row["n"]) for row in rows})
    names = sorted({name for it in flows for pair in it for name in pair if name})
    if not all(flows) or not 0 < len(names) <= MOST_CLASSES:
        return ""
    first = 1 if len(rounds) > 1 else 0  # of what came before the first round, nothing was learnt
    before = rounds[0] if first else "before"
    return flow([before, *rounds[first:]], flows[first:], names)


def _rows(path: Path) -> Rows:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(DictReader(file))


def _data_uri(svg: str) -> str:
    """An SVG that stands alone: a size, a white ground, and colours instead of the report's variables."""
    found = re.match(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)">', svg)
    assert found, "tasks.figures gives every figure a viewBox"
    width, height = (2 * float(side) for side in found.groups())
    for name, colour in {**COLOURS, **{f"--s{i}": colour for i, colour in enumerate(SERIES)}}.items():
        svg = svg.replace(f"var({name})", colour)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" font-family="sans-serif" '
    svg = svg.replace("<svg ", head, 1).replace(">", '><rect width="100%" height="100%" fill="#fff"/>', 1)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
