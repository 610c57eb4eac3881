"""The facts about an image as a person reads them in a terminal: a name and its value a line, 80 columns suffice."""

from collections.abc import Iterator
from typing import Any

from tasks.wording import REASONS

Facts = dict[str, Any]
Line = tuple[str, str]  # name and value; an empty value makes the name a heading
WIDTH = 100
NAMES = 12  # columns for the names of facts
TOP = 5
CLASSES = {
    "near_held_out": "looks like a held-out image",
    "near_duplicate": "looks like a labeled image",
    "conflict": "given two labels",
    "refused": "in quarantine",
    "left": "no longer in its source",
    "waiting": "not split yet",
}
NO_COMMIT = "not committed yet"


def show(facts: Facts) -> None:
    """Print all of it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    rows: list[tuple[Text, Text]] = []

    def flush() -> None:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=NAMES, no_wrap=True, style="dim")
        grid.add_column(overflow="fold")
        for row in rows:
            grid.add_row(*row)
        rows.clear()
        console.print(grid, width=min(console.width, WIDTH))

    for name, value in lines(facts):
        if value:
            rows.append((Text(printable(name)), Text(printable(value))))
        else:
            flush() if rows else None
            console.print(Text(printable(name), style="bold"), soft_wrap=True)
    flush() if rows else None


def lines(facts: Facts) -> Iterator[Line]:
    """Names and values, in the order of an image's life."""
    yield f"image {facts['image_id'] or facts['asked']}", ""
    for note in facts["notes"]:
        yield "note", note
    if facts["version"] != "workspace":
        yield "version", facts["version"]
    yield from _origin(facts)
    yield from _role(facts)
    for found in facts["rounds"]:
        yield f"round {found['round']}: {REASONS.get(found['reason'], found['reason'])}", ""
        yield from _round(found)
    if not facts["rounds"]:
        yield "rounds", "none: no label table has a row for it, so no teacher was asked about it"
    if facts["people"]:
        yield "people", ""
    for row in facts["people"]:
        who = f"{row.get('who') or 'somebody'}{', ' + row['when'] if row.get('when') else ''}"
        standing = "" if row["in_force"] else ", in conflict" if row["disputed"] else ", overruled"
        yield row["ledger"].rpartition("/")[2], f"{row['what']} ({who}){standing}"


def printable(text: str) -> str:
    """Paths and names come from outside: nothing in them may move the cursor or change colours."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def shortened(hash_: str | None) -> str:
    """The first digits of a hash."""
    return hash_[:16] if hash_ else "none"


def _origin(facts: Facts) -> Iterator[Line]:
    for place in facts["sources"]:
        where = f"{place['source']}: {place['path']}"
        gone = ", no longer on disk" if place["on_disk"] is False else ""
        form = f"{place['format']} {place['mode']} {place['width']} x {place['height']}"
        yield "file", f"{where} ({place['origin']} part of the source, {form}{gone})"
    for kept in facts["kept_in"]:
        yield "bytes", f"still in {kept}"
    for place in (facts.get("was") or {}).get("sources", ()):
        now = {None: "deleted since", facts["image_id"]: "the same again"}.get(place["now"])
        now = now or f"another image since: {place['now']}"
        yield (
            "was",
            f"{place['source']}: {place['path']}, as {facts['was']['role']}, in {facts['was']['version']}; {now}",
        )
    if was := facts.get("was"):
        yield "more", f"`understudy why {facts['image_id'][:12]} --rev {was['version']}` says what was made of it"
    for row in facts["quarantine"]:
        since = f"run {row['first_run']}" + (f" to {row['last_run']}" if row["last_run"] != row["first_run"] else "")
        state = "refused" if row["now"] else "once refused"
        yield state, f"{row['source']}: {row['path']}: {row['reason']}, {row['detail']} ({since})"
        if row["now"]:
            from flows.quarantine import HOW, MEND

            yield "to do", HOW.get(row["reason"], MEND)


def _role(facts: Facts) -> Iterator[Line]:
    role = CLASSES.get(facts["role"], facts["role"])
    yield "role", f"{role}: {facts['why']}" if facts["role"] not in CLASSES else f"{role}; {facts['why']}"
    if facts["label"] is not None:
        yield "given label", facts["label"]
    for row in facts.get("conflict", ()):
        mine = "it" if row["image_id"] == facts["image_id"] else f"its copy {row['image_id'][:16]}"
        yield "conflict", f"{mine} is {row['label']} in {row['source']}: {row['path']}"
    for copy in facts["copies"]:
        if copy["kind"] == "exact":
            yield "copy", "the same bytes stand in two parts of the sources: taken once"
        else:
            apart = f"{copy['kind']} copy, distance {copy['distance']:.3f}"
            yield "copy", f"{copy['image_id']} {apart}" + (f", {copy['role']}" if "role" in copy else "")


def _round(found: Facts) -> Iterator[Line]:
    if found["source"]:
        yield from _judged(found)
    table = found["table"]
    yield "table", f"{table['artefact']} {shortened(table['hash'])}, {_recorded(table)}"


def _judged(found: Facts) -> Iterator[Line]:
    label = found["label"] if found["label"] is not None else "none"
    shown = {0: "not learnt from", 1: "shown once in an epoch"}.get(found["copies"], f"shown {found['copies']} times")
    yield "label", f"{label} by {found['source']}, {shown}"
    if found["confidence"] is not None:
        yield "confidence", f"{found['confidence']:.4f}{_threshold(found)}"
    yield from _held_out(found["threshold"])
    if rank := found["rank"]:
        place = f"{rank['place']} of {rank['of_class']} called {label}"
        yield "rank", f"{place}; {rank['passed']} pass, {rank['accepted']} are accepted"
    if probabilities := found["probabilities"]:
        top = [f"{name} {value:.4f}" for name, value in list(probabilities.items())[:TOP]]
        rest = len(probabilities) - len(top)
        yield "teacher says", ", ".join(top) + (f" and {rest} more classes" if rest > 0 else "")
    if teacher := found["teacher"]:
        net = f" (the net {teacher['net']})" if teacher["net"] != teacher["key"] else ""
        gone = "" if teacher["here"] else ", another net lies there now"
        yield "teacher", f"{teacher['artefact']}{net} {shortened(teacher['hash'])}{gone}, {_recorded(teacher)}"
    if again := found.get("again"):
        same = "the same" if again["same"] else "NOT the same"
        yield "asked again", f"{same}: {again['difference']:.1e} apart at most, allowed {again['allowed']:.0e}"


def _threshold(found: Facts) -> str:
    if found["reason"].startswith("human"):
        return ": a person's word needs no threshold"
    about = found["threshold"]
    if not about:
        return ""
    how = about["how"].replace("_", " ") + (f" {about['target']:g}" if about.get("target") is not None else "")
    if about.get("calibration", "none") != "none":
        how += f"; calibrated by {about['calibration'].replace('_', ' ')}"
    if about["value"] is None:
        return f"; its class is closed ({how})" if "n" in about else f"; threshold of its class unknown ({how})"
    reaches = found["confidence"] >= about["value"]
    return f", {'reaches' if reaches else 'below'} the threshold {about['value']:.4f} of its class ({how})"


def _held_out(about: Facts | None) -> Iterator[Line]:
    """What labels that the teacher did not learn from say of the class's threshold."""
    if about and about.get("n"):
        found = f"{about['right']} of {about['n']} held-out images that pass are right"
        yield "held out", f"{found}: precision {about['precision']:.3f}, at least {about['low']:.3f} (one-sided 95 %)"
    if about and about.get("needed"):
        yield "needed", f"at least {about['needed']} more held-out labels of the class before it can promise anything"


def _recorded(about: Facts) -> str:
    commit = about["commit"]
    if commit is None:
        return f"{NO_COMMIT}, understudy {about['understudy']}"
    said = commit["subject"]
    return f"commit {commit['hash'][:9]} of {commit['date']} ({said}), understudy {about['understudy']}"
