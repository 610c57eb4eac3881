"""`understudy quarantine`: what the sources' quarantines hold, worst folders first, and taking items out of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from tasks import files, params, resolutions
from tasks.errors import UserError
from tasks.images import quarantine, release
from tasks.images.quarantine import Quarantine, Row
from tasks.images.record import unknown_class

HOW = {
    "bad_path": "mend the row of the manifest; paths start at its folder",
    "decoder_memory": "raise ingest.max_memory_mb in params.yaml, or make it smaller",
    "decoder_timeout": "raise ingest.max_seconds in params.yaml, or make it smaller",
    "empty_file": "copy it again, or remove it",
    "format_not_allowed": "save it as one of the formats that are read, or remove it",
    "label_conflict": "say which class it is: understudy quarantine --release PATH --label CLASS",
    "misplaced": "move it, or take it: understudy quarantine --release PATH --label CLASS (without --label: pool)",
    "link_outside_root": "put the file itself into the source",
    "link_to_folder": "put the files themselves into the source, or name the folder as a source of its own",
    "mode_not_allowed": "save it in one of the modes that are read",
    "needs_range": "say what stands for black and white (the TIFF tags it names), or save it with 8 bits",
    "no_label": "label it, or: understudy quarantine --release PATH --label CLASS",
    "suspect_tail": "look at it; copy it again, or take it: understudy quarantine --release PATH",
    "too_large": "raise ingest.max_pixels in params.yaml, or make it smaller",
    "unreadable": "see that the file is there and may be read, or take it out of the manifest",
    "unstable_file": "run again when nobody writes it any more",
}
MEND = "replace or remove the file; its bytes cannot be decoded, so it cannot be released"


def lines(settings: params.Settings, source: str | None, reason: str | None, limit: int) -> Iterator[str]:
    """The quarantine in words: folders with their counts by reason, worst first, an example each, and the way out."""
    reasons = set[str]()
    quarantines = _read(settings, source)
    known = {row["reason"] for held in quarantines.values() for row in held.now}
    if reason is not None and reason not in known:
        what = f"nothing was refused for the reason {reason!r}; there are: {', '.join(sorted(known)) or 'none'}"
        raise UserError("unknown_reason", what, "name one of them, or leave --reason out")
    for name, held in quarantines.items():
        rows = [row for row in held.now if reason in {None, row["reason"]}]
        yield f"{name}: {len(rows)} in quarantine at run {held.run}, {len(held.past)} once and no more"
        by_place = defaultdict[str, list[Row]](list)
        for row in rows:
            by_place[row["place"]].append(row)
        worst = sorted(by_place.items(), key=lambda item: (-len(item[1]), item[0]))
        for place, found in worst[:limit]:
            yield from _folder(place, found, held.totals[place])
        if len(worst) > limit:
            yield f"  and {len(worst) - limit} more folders (--limit {len(worst)} shows them)"
        reasons |= {row["reason"] for row in rows}
    if reasons:
        yield "what to do"
    yield from (f"  {name}: {HOW.get(name, MEND)}" for name in sorted(reasons))


def _folder(place: str, rows: list[Row], total: int) -> Iterator[str]:
    counts = Counter(row["reason"] for row in rows)
    share = f"all {total} files" if len(rows) == total > 1 else f"{len(rows)} of {total}"
    since = min(row["first_run"] for row in rows), max(row["last_run"] for row in rows)
    runs = f"run {since[0]}" if since[0] == since[1] else f"runs {since[0]} to {since[1]}"
    yield f"  in {place!r}: {share} ({', '.join(f'{r} {n}' for r, n in counts.most_common())}), {runs}"
    yield f"    such as {rows[0]['path']!r}: {rows[0]['reason']}, {rows[0]['detail']}"


def let_go(settings: params.Settings, source: str | None, path: str, label: str | None, who: str) -> str:
    """Write down that a person takes a file, or all refused ones in a folder; the sentence to print.

    UserError when nothing there is refused, a class is unknown or missing, or the bytes cannot be decoded.
    """
    held = _read(settings, source)
    found = [(name, row) for name, q in held.items() for row in q.now if _lies_in(row, path)]
    if not found:
        what = f"{path!r} is not in the quarantine of {', '.join(held)}"
        raise UserError("not_refused", what, "`understudy quarantine` lists it; paths are those it shows")
    if len(names := sorted({name for name, _ in found})) > 1:
        what = f"{path!r} is in the quarantine of {' and '.join(names)}"
        raise UserError("which_source", what, f"say --source {names[0]}")
    rows = [row for _, row in found]
    _refuse(names[0], rows, label)
    conflicts = {row["image_id"]: label for row in rows if row["reason"] == "label_conflict" and label}
    others = [row for row in rows if row["reason"] != "label_conflict"]
    taken = [release.Release(names[0], row["path"], row["reason"], label or "", who) for row in others]
    added = resolutions.append(files.CONFLICTS, conflicts, who) + release.append(files.RELEASES, taken)
    return f"{added} written to {files.RELEASES.parent} ({len(rows)} asked for); `understudy run` takes them in"


def _refuse(source: str, rows: Iterable[Row], label: str | None) -> None:
    classes: list[str] = files.read_json(files.catalog(source) / "classes.json")
    if label is not None and label not in classes:
        raise UserError("unknown_class", unknown_class(label, classes), "name one of the source's classes")
    for row in rows:
        reason, at = row["reason"], f"{row['path']!r} ({row['reason']}, {row['detail']})"
        if reason not in {"label_conflict", *release.REASONS}:
            raise UserError("not_releasable", f"{at} cannot be released", HOW.get(reason, MEND))
        if label is None and reason in {"label_conflict", "no_label"}:
            raise UserError("no_label", f"{at} needs a class", f"add --label, one of {', '.join(classes[:20])}")


def _lies_in(row: Row, path: str) -> bool:
    name = str(row["path"])
    return path in {name, row["place"]} or name.startswith(path.rstrip("/") + "/")


def _read(settings: params.Settings, source: str | None) -> dict[str, Quarantine]:
    if source is not None and source not in settings.sources:
        what = f"params.yaml has no source {source!r}; known: {', '.join(settings.sources)}"
        raise UserError("unknown_source", what, "name one of them")
    wanted = [source] if source else list(settings.sources)
    found = {name: held for name in wanted if (held := quarantine.read(files.quarantine(name)))}
    if not found:
        raise UserError("no_quarantine", f"no source of {', '.join(wanted)} was ingested yet", "understudy run")
    return found
