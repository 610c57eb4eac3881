"""What people said about refused files: source,path,reason,label,who in data/decisions/release.csv.

"Take this file anyway", or "this file is class X": the last row of a path wins, for the reason it names alone. Bytes
that cannot be decoded cannot be released. The same bytes under two labels are decided in tasks/resolutions.py.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from tasks import ledger
from tasks.images.record import Record, Refusal, unknown_class

REASONS = ("misplaced", "no_label", "suspect_tail")  # the files behind them can be decoded


@dataclass(frozen=True, slots=True)
class Release:
    """One refused file that a person takes in."""

    source: str
    path: str  # as it stands in the quarantine
    reason: str  # one of REASONS
    label: str  # its class; empty: the one it has, or none
    who: str


HEADER = tuple(field.name for field in fields(Release))


def read(path: Path, source: str, classes: list[str]) -> dict[str, Release]:
    """The releases of a source by path. UserError names the line of a reason or class that is none."""
    found = {}
    for line, row in ledger.read(path, HEADER):
        release = Release(**row)
        if release.source != source:
            continue
        if release.reason not in REASONS:
            why = f"{release.reason!r} cannot be released; {', '.join(REASONS)} can"
            raise ledger.refused(path, line, why)
        if release.label and release.label not in classes:
            raise ledger.refused(path, line, unknown_class(release.label, classes))
        found[release.path] = release
    return found


def append(path: Path, releases: Iterable[Release]) -> int:
    """Add releases that are not there yet; their number."""
    return ledger.append(path, HEADER, [astuple(replace(r, who=ledger.name(r.who))) for r in releases])


def apply(records: Iterable[Record], releases: Mapping[str, Release]) -> Iterator[Record]:
    """The records with what people said: a refusal they overruled is lifted, here or, of the bytes, by the check."""
    for record in records:
        release = releases.get(record.path)
        yield record if release is None else _released(record, release)


def _released(record: Record, release: Release) -> Record:
    label = release.label or record.label
    refusal = record.content
    if not isinstance(refusal, Refusal):
        return replace(record, label=label, released=release.reason)
    if refusal.reason != release.reason or record.withheld is None:
        return record
    if record.origin == "test":
        return replace(record, label=label, content=record.withheld) if label else record
    return replace(record, label=label, origin="labeled" if label else "pool", content=record.withheld)
