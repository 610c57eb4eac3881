"""`understudy why`: what is recorded about one image, as plain values; flows/lineage/why_text.py says it in words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.versions import hashing, history
from flows.versions.history import Commit
from flows.versions.revision import Revision, at, here, opened
from tasks import files
from tasks.errors import UserError
from tasks.lineage import lookup, names, opinions, origin, people
from tasks.lineage.names import NotFound, Subject
from tasks.lineage.version import CATALOGS, Version, identity

LOOKED_BACK = 50  # versions of the catalog, the newest first
Facts = dict[str, Any]


def facts(root: Path, word: str, revision: str, round_: str | None = None) -> Facts:
    """All there is about the image that `word` means in a version. UserError when there is none, or several.

    An image that the workspace does not know any more is looked for in the versions that git knows.
    """
    version, subject = _find(root, word, opened(root, revision))
    found: Facts = {"image_id": subject.image_id, "asked": word, "version": version.name, "notes": list(subject.notes)}
    found |= origin.describe(version, subject)
    if subject.image_id and found["role"] == "left":
        found["was"] = _was(root, version, subject.image_id)
    found["rounds"] = opinions.of(version, subject.image_id, round_) if subject.image_id else []
    _add_commits(root, version, found["rounds"])
    places = [*found["sources"], *found["quarantine"], *(found.get("was") or {}).get("sources", ())]
    found["people"] = people.said(subject.image_id, {(place["source"], place["path"]) for place in places})
    return found


def teacher_folder(root: Path, version: Version, round_: str) -> Path:
    """Weights and card of the very net that labeled a round: as it lies there, or from DVC's cache.

    UserError when neither has it.
    """
    named = opinions.named_teacher(version, round_)
    if named is None:
        what = f"{files.probs(round_)} of {version.name} names no teacher"
        raise UserError("no_teacher", what, f"`dvc repro label@{round_}`")
    artefact = Path(named["artefact"])
    if named["here"]:
        return version.folder(artefact)
    cached = version if isinstance(version, Revision) else here(root)
    md5 = _asked_md5(cached.lock, round_, artefact)
    folder = cached.linked(md5, artefact) if md5 else None
    if folder is None or named["hash"] not in {files.net_hash(folder), files.manifest_hash(folder)}:
        what = f"the net that labeled {round_}, {artefact} with hash {named['hash'][:16]}, is neither in the workspace "
        what += "nor named by dvc.lock"
        raise UserError("teacher_gone", what, f"`dvc repro label@{round_}`, or `dvc checkout` of the version it is of")
    return folder


def _find(root: Path, word: str, version: Version) -> tuple[Version, Subject]:
    try:
        return version, names.resolve(version, word)
    except NotFound as error:
        if isinstance(version, Revision):
            raise
        lost = 0
        for older in _older(root):
            try:
                subject = names.resolve(older, word)
            except NotFound:
                continue
            except UserError:
                lost += 1
                continue
            note = f"the workspace does not know it; this is what {older.name} recorded"
            return older, Subject(subject.image_id, subject.path, (*subject.notes, note))
        more = f"\n{lost} older versions of the catalog are not whole in DVC's cache" if lost else ""
        raise UserError(error.code, error.what + more, error.fix) from None


def _was(root: Path, version: Version, image_id: str) -> Facts | None:
    """Where the image last lay, by the newest older version that knows, and what lies there now."""
    for older in _older(root):
        try:
            before = origin.describe(older, Subject(image_id, None))
        except UserError:
            continue
        if before["sources"]:
            for place in before["sources"]:
                table = version.file(files.catalog(place["source"]), "images.parquet")
                rows = lookup.where(table, {"path": place["path"]}, ["image_id"])
                place["now"] = rows[0]["image_id"] if rows else None
            return {"version": older.name, **{name: before[name] for name in ("sources", "role", "label")}}
    return None


def _older(root: Path) -> Iterator[Revision]:
    """Versions that differ in their catalogs, the newest first."""
    seen = set[tuple[str, ...]]()
    for commit in history.locks(root):
        lock = history.lock_at(root, commit)
        catalogs = tuple(sorted(md5 for path, md5 in lock.outs.items() if Path(path).parent == CATALOGS))
        if catalogs and catalogs not in seen:
            if len(seen) == LOOKED_BACK:
                return
            seen.add(catalogs)
            yield at(root, commit)


def _add_commits(root: Path, version: Version, rounds: list[Facts]) -> None:
    """Add to each round's table and teacher the first commit whose dvc.lock holds them; None: not committed yet."""
    lock = version.lock if isinstance(version, Revision) else history.workspace_lock(root)
    wanted: list[tuple[Facts, str | None]] = []
    for found in rounds:
        wanted.append((found["table"], _md5(version, lock, Path(found["table"]["artefact"]))))
        if teacher := found.get("teacher"):
            artefact = Path(teacher["artefact"])
            is_here = teacher["here"] and not isinstance(version, Revision)
            md5 = _md5(version, lock, artefact) if is_here else _asked_md5(lock, found["round"], artefact)
            wanted.append((teacher, md5))
    commits = history.recorded(root, {md5 for _, md5 in wanted if md5})
    for about, md5 in wanted:
        about["commit"] = _plain(commits.get(md5 or ""))


def _md5(version: Version, lock: history.Lock, artefact: Path) -> str | None:
    """DVC's name for an artefact. Of the workspace it is computed, for dvc.lock may speak of another one."""
    if isinstance(version, Revision) or identity(version, artefact) is None:
        return lock.outs.get(artefact.as_posix())
    return hashing.folder_md5({name: hashing.hash_file(artefact / name).md5 for name in version.names(artefact)})


def _asked_md5(lock: history.Lock, round_: str, artefact: Path) -> str | None:
    """DVC's name for the net that the stage of a round's probabilities read."""
    return lock.deps(lock.made.get(files.probs(round_).as_posix(), "")).get(artefact.as_posix())


def _plain(commit: Commit | None) -> Facts | None:
    return {"hash": commit.hash, "date": commit.date, "subject": commit.subject} if commit else None
