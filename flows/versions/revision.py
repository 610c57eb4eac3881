"""The artefacts of a git revision: its dvc.lock says which they were, DVC's cache holds their files. No checkout."""

import shutil
from pathlib import Path

from flows.versions import hashing, history, storage
from flows.versions.history import Commit, Lock
from tasks import files
from tasks.errors import Integrity, UserError
from tasks.lineage.version import Version, Workspace

WORKSPACE = "workspace"
HOME = files.WORK / "revisions"


class NotInCache(UserError):
    """DVC recorded an object that its cache does not hold."""


class Revision:
    """A version of which nothing need lie in the workspace. Every file is hashed before its path is handed out."""

    def __init__(self, name: str, lock: Lock, cache: Path) -> None:
        self.name, self.lock, self.cache = name, lock, cache
        self._listings: dict[str, dict[str, str]] = {}
        self._sound: set[str] = set()

    def names(self, artefact: Path) -> list[str]:
        """The files of an artefact."""
        return sorted(self._listing(artefact))

    def file(self, artefact: Path, name: str) -> Path | None:
        """A file in DVC's cache. UserError when the cache lacks it, Integrity when it is damaged there."""
        md5 = self._listing(artefact).get(name)
        return None if md5 is None else self._object(md5, artefact)

    def single(self, path: Path) -> Path | None:
        """An artefact that is one file, in DVC's cache."""
        md5 = self.lock.outs.get(path.as_posix())
        return None if md5 is None else self._object(md5, path)

    def below(self, folder: Path) -> list[str]:
        """Artefacts whose parent is this folder."""
        return sorted(Path(path).name for path in self.lock.outs if Path(path).parent == folder)

    def folder(self, artefact: Path) -> Path:
        """Links to its cached files, under .work."""
        md5 = self.lock.outs.get(artefact.as_posix())
        return self.linked(md5, artefact) if md5 else HOME / "none"

    def linked(self, md5: str, artefact: Path) -> Path:
        """A folder of links to the files that an object `….dir` lists; made anew each time, for a cache may move."""
        target = HOME / md5.removesuffix(".dir")
        shutil.rmtree(target, ignore_errors=True)
        for name, part in self.listing(md5, artefact).items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).symlink_to(self._object(part, artefact).resolve())
        return target

    def _listing(self, artefact: Path) -> dict[str, str]:
        md5 = self.lock.outs.get(artefact.as_posix())
        return self.listing(md5, artefact) if md5 else {}

    def listing(self, md5: str, artefact: Path) -> dict[str, str]:
        """relpath → md5 of the folder that an object `….dir` describes."""
        if md5 not in self._listings:
            found = hashing.listing(self._object(md5, artefact).read_bytes())
            if found is None:
                raise self._damaged(md5, artefact)
            self._listings[md5] = found
        return self._listings[md5]

    def _object(self, md5: str, artefact: Path) -> Path:
        path = self.cache / md5[:2] / md5[2:]
        if not path.is_file():
            what = f"{artefact} of {self.name} is not in DVC's cache ({md5})"
            stage = self.lock.made.get(artefact.as_posix(), "")
            # For each commit DVC asks the remotes of that commit's own .dvc/config, and skips it silently without one.
            known = "that this commit's .dvc/config knows, or .dvc/config.local"
            fix = f"`{f'dvc fetch --all-commits {stage}'.strip()}`, if it was pushed, to a remote {known}"
            raise NotInCache("not_in_cache", what, fix)
        if md5 not in self._sound:
            if hashing.hash_file(path).md5 != md5.removesuffix(".dir"):
                raise self._damaged(md5, artefact)
            self._sound.add(md5)
        return path

    def _damaged(self, md5: str, artefact: Path) -> Integrity:
        what = f"{self.cache / md5[:2] / md5[2:]}, part of {artefact} of {self.name}, is damaged"
        return Integrity("damaged_object", what, "`understudy verify --fix`, then `dvc fetch --all-commits`")


def opened(root: Path, name: str) -> Version:
    """The version a user names: `workspace`, or a revision of git. UserError when there is none of that name."""
    if name == WORKSPACE:
        return Workspace()
    return at(root, history.commit_of(root, name), name)


def at(root: Path, commit: Commit, name: str = "") -> Revision:
    """A commit's version, called by its hash and what the user called it."""
    short = commit.hash[:9]
    shown = short if not name or commit.hash.startswith(name) else f"{name} ({short})"
    return Revision(shown, history.lock_at(root, commit), storage.cache(root))


def here(root: Path) -> Revision:
    """What the workspace's dvc.lock records, read from the cache: also what was overwritten in the workspace since."""
    return Revision(WORKSPACE, history.workspace_lock(root), storage.cache(root))
