"""Which image is meant: by its id, the first digits of it, a path as a catalog has it, or a file on disk."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import files
from tasks.errors import UserError
from tasks.lineage import lookup
from tasks.lineage.lookup import compute
from tasks.lineage.version import CATALOGS, Version, parts, record

DIGITS = re.compile(r"[0-9a-f]{4,64}")  # shorter ones would name half of a pool
SHOWN = 5  # nearest matches
COMPARED, ALIKE = 5000, 0.6  # paths compared letter by letter, and how similar the nearest must be
REFUSED = ("quarantine.parquet", "past.parquet")


@dataclass(frozen=True, slots=True)
class Subject:
    """What was asked about. A file that was refused before it could be hashed has no image_id, but a path."""

    image_id: str | None
    path: str | None
    notes: tuple[str, ...] = ()


class NotFound(UserError):
    """Nothing in a version is meant by these words."""


def resolve(version: Version, word: str) -> Subject:
    """The one image (or refused file) that `word` means. UserError when none or several is, with the nearest."""
    if DIGITS.fullmatch(word) and (ids := starting(version, word)):
        return Subject(_only(word, ids), None)
    if Path(word).is_file() and (subject := _file(version, Path(word))):
        return subject
    for path, source in _ways(version, word):
        if subject := _path(version, path, source):
            return subject
    raise NotFound("unknown_image", _unknown(version, word), "use an image_id, its first digits, or a path of a source")


def starting(version: Version, digits: str) -> set[str]:
    """The ids understudy ever gave that start so: those of the catalogs first, then refused and left ones."""
    found: set[str] = set()
    for places in (_catalogs(version), _quarantines(version), _shards(version)):
        if not found:
            whole = len(digits) == 64
            here = lookup.holds(places, digits) if whole else False
            found = {digits} if here else lookup.starting([] if whole else places, digits)
    return found


def known(version: Version, image_id: str) -> bool:
    """Whether understudy has seen these bytes."""
    return bool(starting(version, image_id))


def roots(version: Version) -> dict[str, Path]:
    """Where each source lies, as the settings said when it was taken in."""
    found = {}
    for source in version.below(CATALOGS):
        wanted: dict[str, Any] = record(version, files.catalog(source)).get("params", {})
        found[source] = Path(wanted.get(f"sources.{source}", {}).get("path", "."))
    return found


def _file(version: Version, path: Path) -> Subject | None:
    """By content. A file of a source that is another image now than it was when it was taken in says both."""
    now = files.sha256_file(path)
    if known(version, now):
        return Subject(now, None)
    for inside, source in _ways(version, str(path)):
        if subject := _path(version, inside, source):
            changed = f"{path} has changed since it was taken in: its content is {now} now, which no run has seen"
            return Subject(subject.image_id, subject.path, (*subject.notes, changed))
    what = f"the content of {path} (sha256 {now}) was never taken in, and no source has a file of that path"
    raise NotFound("unknown_image", what, "put it into a source and run `understudy run`")


def _ways(version: Version, word: str) -> list[tuple[str, str | None]]:
    """How a path may be meant: as the catalog writes it, SOURCE:PATH, or on disk, below the root of a source."""
    ways: list[tuple[str, str | None]] = [(word, None)]
    source, colon, rest = word.partition(":")
    if colon and source in version.below(CATALOGS):
        ways.append((rest, source))
    on_disk = Path(word).resolve()
    for name, root in roots(version).items():
        if on_disk.is_relative_to(root.resolve()):
            ways.append((on_disk.relative_to(root.resolve()).as_posix(), name))
    return ways


def _path(version: Version, path: str, source: str | None) -> Subject | None:
    sources = [source] if source else version.below(CATALOGS)
    tables = {name: version.file(files.catalog(name), "images.parquet") for name in sources}
    found = {name: lookup.where(table, {"path": path}, ["image_id"]) for name, table in tables.items()}
    ids = {row["image_id"] for rows in found.values() for row in rows}
    if len(ids) > 1:
        having = [f"{name}:{path}" for name, rows in found.items() if rows]
        raise UserError("ambiguous_image", f"{path!r} is in {len(having)} sources", f"say {' or '.join(having)}")
    if ids:
        return Subject(ids.pop(), path)
    for name in sources:
        for table in REFUSED:
            if rows := lookup.where(version.file(files.quarantine(name), table), {"path": path}, ["image_id"]):
                return Subject(rows[0]["image_id"], path)
    return None


def _only(word: str, ids: set[str]) -> str:
    if len(ids) > 1:
        some = "\n".join(f"  {image_id}" for image_id in sorted(ids)[:SHOWN])
        more = f"\n  and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        what = f"{len(ids)} images start with {word}:\n{some}{more}"
        raise UserError("ambiguous_image", what, "give more digits")
    return ids.pop()


def _unknown(version: Version, word: str) -> str:
    if not version.below(CATALOGS):
        return f"no source was taken in yet ({version.name}), so there is no image {word!r}"
    near = _near_ids(version, word) if re.fullmatch(r"[0-9a-f]{3,}", word) else _near_paths(version, word)
    lines = [f"no image {word!r} in the sources {', '.join(version.below(CATALOGS))} ({version.name})"]
    return "\n".join([*lines, *(["the nearest are:", *(f"  {name}" for name in near)] if near else [])])


def _near_ids(version: Version, word: str) -> list[str]:
    """Ids that agree in as many first digits as any does."""
    for length in range(min(len(word), 64) - 1, 0, -1):
        if ids := lookup.starting(_catalogs(version), word[:length]):
            return sorted(ids)[:SHOWN]
    return []


def _near_paths(version: Version, word: str) -> list[str]:
    """The paths most similar as a whole or by file name, of those that have part of the name or are in that folder."""
    asked = Path(word)
    found: list[tuple[float, str]] = []
    for source in version.below(CATALOGS):
        table = version.file(files.catalog(source), "images.parquet")
        if table is None:
            continue
        path = lookup.read(table, ["path"])["path"]
        same = path.filter(compute.match_substring(path, asked.stem, ignore_case=True)).slice(0, COMPARED)
        near = path.filter(compute.starts_with(path, f"{asked.parent.as_posix()}/")).slice(0, COMPARED)
        pool = [*same.to_pylist(), *near.to_pylist()] or path.slice(0, COMPARED).to_pylist()
        for candidate in {str(one) for one in pool}:
            whole, name = _similar(word, candidate), _similar(asked.name, Path(candidate).name)
            found.append((max(whole, name - 0.05), f"{source}:{candidate}"))
    best = sorted(found, key=lambda scored: (-scored[0], scored[1]))[:SHOWN]
    return [name for score, name in best if score >= ALIKE]


def _similar(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _catalogs(version: Version) -> list[Path]:
    found = (version.file(files.catalog(source), "images.parquet") for source in version.below(CATALOGS))
    return [path for path in found if path]


def _quarantines(version: Version) -> list[Path]:
    sources = version.below(files.quarantine("x").parent)
    found = (version.file(files.quarantine(source), table) for source in sources for table in REFUSED)
    return [path for path in found if path]


def _shards(version: Version) -> list[Path]:
    """Images that left their source stay here."""
    return [path for source in version.below(files.IMAGES) for path in parts(version, files.images(source))]
