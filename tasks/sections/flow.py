"""Section `flow`: how labels changed from round to round, and how right they are over how many one takes."""

from typing import Any

from tasks import figures, files, flow_chart
from tasks.sections.material import Material, csv_rows

MOST_CLASSES = 12  # in the diagram; above it the changes are a table alone
SHOWN_CHANGES = 12
WORDS = {
    "kept": "learnt again with the same label",
    "changed": "learnt again with another label",
    "gained": "newly learnt",
    "lost": "no longer learnt",
    "never": "learnt in neither round",
}
NO_LABEL = flow_chart.NO_LABEL


def section(run: Material) -> dict[str, Any]:
    """Counts per round, the diagram, the most frequent changes of the last round and the precision-coverage curves."""
    chain = _chain(run)
    flows = [_flow(run, round_) for round_ in chain]
    drawn = len(run.classes) <= MOST_CLASSES and any(flow for flow in flows)
    # r0 has learnt from no pool image: where there is more to show, its column says nothing.
    first = 1 if len(chain) > 1 else 0
    columns = [run.settings.rounds[chain[first]].teacher, *chain[first:]]
    rows = csv_rows(files.scores(run.final) / "flow.csv")
    changed = [row for row in rows if row["before"] != row["after"] and row["before"] and row["after"]]
    ranked = sorted(changed, key=lambda row: (-int(row["n"]), row["before"], row["after"]))
    return {
        "rounds": run.rounds,
        "counts": [(words, [run.scores[r]["flow"][name] for r in run.rounds]) for name, words in WORDS.items()],
        "pool": [sum(run.scores[r]["flow"].values()) for r in run.rounds],
        "diagram": flow_chart.flow(columns, flows[first:], run.classes) if drawn else None,
        "changes": ranked[:SHOWN_CHANGES],
        "others": len(ranked[SHOWN_CHANGES:]),
        "final": run.final,
        "truth": _curves(run, "coverage"),
        "held": _curves(run, "coverage_held"),
    }


def _chain(run: Material) -> list[str]:
    """The rounds that lead to the last one, first to last: each follows from the labels of the one before."""
    chain = [run.final]
    while (before := run.settings.rounds[chain[0]].teacher) in run.rounds:
        chain.insert(0, before)
    return chain


def _flow(run: Material, round_: str) -> flow_chart.Flow:
    return {(r["before"], r["after"]): int(r["n"]) for r in csv_rows(files.scores(round_) / "flow.csv")}


def _curves(run: Material, kind: str) -> str | None:
    """Precision over coverage of every round; null where nothing is known of any."""
    series = []
    for i, round_ in enumerate(run.rounds):
        rows = csv_rows(files.scores(round_) / f"{kind}.csv")
        series.append((round_, i + 2, [(100 * float(r["coverage"]), float(r["precision"])) for r in rows]))
    if not any(points for *_, points in series):
        return None
    return figures.lines(kind.replace("_", "-"), series, "most confident labels taken, %", "right, %", dots=False)
