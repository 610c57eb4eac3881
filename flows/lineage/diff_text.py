"""What changed between two label tables, for a terminal, a spreadsheet and a browser."""

from pathlib import Path
from typing import Any

import pyarrow.csv

from flows.lineage import causes
from flows.lineage.diff import Diff, with_paths
from flows.lineage.why_text import printable, shortened
from tasks import files
from tasks.lineage.changes import KINDS
from tasks.wording import REASONS

PAGES = files.WORK / "diff"
SHOWN = 60  # pictures of a kind on the page
PAIRS = 8  # pairs of classes named in a line
QUIET = ("confidence",)  # kinds without pictures: nothing was decided otherwise
TEMPLATE = Path(__file__).resolve().parent.parent.parent / "tasks/templates"


def show(diff: Diff, top: int) -> None:
    """Counts, pairs of classes, causes and the first rows."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False)
    first, second = (version.name for version in diff.versions)
    console.print(Text(headline(diff), style="bold"))
    if sum(diff.changes.counts.values()):
        grid = Table.grid(padding=(0, 2))
        grid.add_column(justify="right")
        for kind, words in KINDS.items():
            if count := diff.changes.counts[kind]:
                grid.add_row(f"{count:,}", words)
        grid.add_row(f"{diff.changes.same:,}", Text("the same", style="dim"))
        console.print(grid)
    for sentence in pair_lines(diff):
        console.print(Text(printable(sentence)))
    console.print(Text("why", style="bold"))
    for sentence in reason_lines(diff):
        console.print(Text(printable(sentence)), soft_wrap=True)
    if rows := diff.changes.top(top):
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("image", "label", "confidence", "reason"):
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(row["image_id"][:12], *(Text(printable(text)) for text in in_words(row)))
        console.print(
            Text(f"the first {len(rows)} of {diff.changes.rows.num_rows:,}, {first} → {second}", style="bold")
        )
        console.print(table)


def headline(diff: Diff) -> str:
    """The counts in one sentence."""
    changed = sum(diff.changes.counts.values())
    first, second = (version.name for version in diff.versions)
    images = f"{diff.changes.before:,} → {diff.changes.after:,} images"
    return f"{diff.round}, {first} → {second}: {changed:,} rows of the label table differ ({images})"


def pair_lines(diff: Diff) -> list[str]:
    """Which label became which; of what newly is, or no longer is learnt from, the label."""
    found = []
    for kind in ("label", "human", "accepted", "dropped"):
        if pairs := diff.changes.pairs(kind):
            names = [f"{old} → {new}" if old != new else str(new) for old, new, _ in pairs]
            said = [f"{name} ({count:,})" for name, (_, _, count) in zip(names, pairs, strict=True)]
            more = f" and {len(said) - PAIRS} more" if len(said) > PAIRS else ""
            found.append(f"{KINDS[kind]}: {', '.join(said[:PAIRS])}{more}")
    return found


def reason_lines(diff: Diff) -> list[str]:
    """Teacher, probabilities, then every setting, file and artefact that differs."""
    old, new = diff.teachers
    lines = list(diff.notes)
    if old and new:
        nets = [f"{net['artefact']} {shortened(net['hash'])}" for net in (old, new)]
        same = old["hash"] == new["hash"]
        lines.append(f"teacher: the same net, {nets[0]}" if same else f"teacher: {nets[0]} → {nets[1]}")
    else:
        lines.append("teacher: not compared, for the probabilities of a version are not in DVC's cache")
    if diff.same_probabilities:
        lines.append("probabilities: not one differs; settings, splits or people made the change")
    lines += causes.lines(diff.cause) if diff.cause else ["dvc.lock records the same label table in both"]
    return lines


def in_words(row: dict[str, Any]) -> tuple[str, str, str]:
    """Label, confidence and reason of a changed row, before and after where they differ."""
    label = [row[f"label_{side}"] or "none" for side in ("before", "after")]
    number = [row[f"confidence_{side}"] for side in ("before", "after")]
    sure = ["none" if value is None else f"{value:.4f}" for value in number]
    reason = [REASONS.get(r := row[f"reason_{side}"], r) or "not there" for side in ("before", "after")]
    return _arrow(*label), _arrow(*sure), _arrow(*reason)


def _arrow(one: str, other: str) -> str:
    return one if one == other else f"{one} → {other}"


def write_csv(diff: Diff, path: Path) -> None:
    """Every changed row, sorted by image_id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.csv.write_csv(diff.rows(), path)


def write_page(diff: Diff, path: Path | None = None) -> Path:
    """One HTML file with everything in it: counts, causes, and pictures of each kind of change."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from tasks.images.thumbnails import as_shown

    names = "-".join(version.name.split(" ")[0].replace("/", "_") for version in diff.versions)
    path = path or PAGES / f"{diff.round}-{names}.html"
    kinds = {kind: diff.changes.of(kind) for kind in KINDS if kind not in QUIET and diff.changes.counts[kind]}
    rows = {kind: diff.changes.top(SHOWN, (kind,)) for kind in kinds}
    shown = _with_paths(diff, [row for some in rows.values() for row in some])
    uris = as_shown(files.IMAGES, set(shown)) if files.IMAGES.is_dir() else {}
    for row in (row for some in rows.values() for row in some):
        label, sure, reason = in_words(row)
        row |= {"label": label, "sure": sure, "why": reason, "picture": uris.get(row["image_id"])}
        row |= {"path": shown[row["image_id"]]}
    environment = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined)
    html = environment.get_template("diff.html.j2").render(
        headline=headline(diff),
        counts=[(words, diff.changes.counts[kind]) for kind, words in KINDS.items()],
        same=diff.changes.same,
        pairs=pair_lines(diff),
        reasons=reason_lines(diff),
        galleries=[(KINDS[kind], table.num_rows, rows[kind]) for kind, table in kinds.items()],
        versions=[version.name for version in diff.versions],
        tables=diff.tables,
    )
    files.replace_file(path, html)
    return path


def _with_paths(diff: Diff, rows: list[dict[str, Any]]) -> dict[str, str]:
    """image_id → where it lies, or lay."""
    import pyarrow as pa

    ids = pa.table({"image_id": pa.array(sorted(row["image_id"] for row in rows), pa.string())})
    found = with_paths(ids, diff.versions).to_pylist()
    return {row["image_id"]: f"{row['source']}: {row['path']}" if row["path"] else "" for row in found}
