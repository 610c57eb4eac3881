"""`understudy diff`: which labels of a round changed between two versions, what kind of change it is, and why."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from flows.lineage import causes
from flows.versions import hashing, history
from flows.versions.history import Lock
from flows.versions.revision import NotInCache, Revision, opened
from tasks import files
from tasks.errors import UserError
from tasks.lineage import lookup, opinions
from tasks.lineage.changes import Changes, compare
from tasks.lineage.lookup import compute
from tasks.lineage.version import CATALOGS, Version, identity, rounds


@dataclass(frozen=True, slots=True)
class Diff:
    """All there is to say about two versions of a round's label table."""

    round: str
    versions: tuple[Version, Version]
    changes: Changes
    cause: causes.Cause | None
    teachers: tuple[dict[str, Any] | None, dict[str, Any] | None]
    tables: tuple[str, str]  # files.manifest_hash
    same_probabilities: bool
    notes: list[str]

    def rows(self) -> pa.Table:
        """Every change, with the first path of its image."""
        return with_paths(self.changes.rows, self.versions)

    def as_dict(self, top: int) -> dict[str, Any]:
        """For machines."""
        return {
            "round": self.round,
            "versions": [version.name for version in self.versions],
            "tables": self.tables,
            "images": [self.changes.before, self.changes.after],
            "same": self.changes.same,
            "counts": self.changes.counts,
            "pairs": {kind: self.changes.pairs(kind) for kind in ("label", "human", "accepted", "dropped")},
            "teachers": self.teachers,
            "same_probabilities": self.same_probabilities,
            "cause": self.cause,
            "notes": self.notes,
            "top": self.changes.top(top),
        }


def between(root: Path, first: str, second: str, round_: str | None = None) -> Diff:
    """The last round that both versions have, or one. UserError when a version has no such label table."""
    versions = opened(root, first), opened(root, second)
    round_ = round_ or _last(versions)
    paths = [_table(version, round_) for version in versions]
    locks = _lock(root, versions[0]), _lock(root, versions[1])
    changes = compare(paths[0], paths[1])
    probs = files.probs(round_).as_posix()
    return Diff(
        round_,
        versions,
        changes,
        causes.of(*locks, files.labels(round_).as_posix()),
        (_teacher(versions[0], round_), _teacher(versions[1], round_)),
        (str(identity(versions[0], files.labels(round_))), str(identity(versions[1], files.labels(round_)))),
        locks[0].outs.get(probs) == locks[1].outs.get(probs),
        [note for version, lock in zip(versions, locks, strict=True) for note in _stale(version, lock, round_)],
    )


def with_paths(rows: pa.Table, versions: tuple[Version, Version]) -> pa.Table:
    """Rows with the columns `source` and `path`, of the newer version where both know the image."""
    columns: dict[str, Any] = {}
    for version in reversed(versions):
        for source in version.below(CATALOGS):
            try:
                table = version.file(files.catalog(source), "images.parquet")
            except NotInCache:
                continue
            if table is None:
                continue
            catalog = lookup.read(table, ["image_id", "path"])
            at = compute.index_in(rows["image_id"], value_set=catalog["image_id"].combine_chunks())
            path = catalog["path"].take(at)
            named = compute.if_else(compute.is_valid(at), source, None)
            for name, found in (("source", named), ("path", path)):
                columns[name] = compute.coalesce(columns[name], found) if name in columns else found
    for name in ("source", "path"):
        rows = rows.append_column(name, columns.get(name, pa.nulls(rows.num_rows, pa.string())))
    return rows


def _last(versions: tuple[Version, Version]) -> str:
    both = [round_ for round_ in rounds(versions[0]) if round_ in rounds(versions[1])]
    if not both:
        names = " and ".join(version.name for version in versions)
        raise UserError("no_round", f"{names} have no round in common", "`understudy run` makes one")
    return both[-1]


def _table(version: Version, round_: str) -> Path:
    path = version.file(files.labels(round_), "labels.parquet")
    if path is None:
        what = f"{version.name} has no label table of {round_}; it has {', '.join(rounds(version)) or 'none'}"
        raise UserError("no_round", what, "name one of these with --round")
    return path


def _teacher(version: Version, round_: str) -> dict[str, Any] | None:
    """None, too, where only the label table was fetched."""
    try:
        return opinions.named_teacher(version, round_)
    except NotInCache:
        return None


def _lock(root: Path, version: Version) -> Lock:
    return version.lock if isinstance(version, Revision) else history.workspace_lock(root)


def _stale(version: Version, lock: Lock, round_: str) -> list[str]:
    """What lies in the workspace may be another table than the one that dvc.lock explains."""
    artefact = files.labels(round_)
    if isinstance(version, Revision):
        return []
    now = hashing.folder_md5({name: hashing.hash_file(artefact / name).md5 for name in version.names(artefact)})
    if now == lock.outs.get(artefact.as_posix()):
        return []
    return [
        f"{artefact} in the workspace is not what dvc.lock records, so its causes may not all be named: `dvc status`"
    ]
