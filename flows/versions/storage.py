"""Where DVC keeps what: outputs with their hashes, the cache, remotes. It and flows.pipeline alone import dvc.

DVC's own classes know every kind of remote and its credentials, foreach stages, .dvc files and `push: false`: reading
its files ourselves would get some project wrong. What they say about health is not asked: DVC trusts too much.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.errors import UserError


@dataclass(frozen=True, slots=True)
class Output:
    """What dvc.lock (or a .dvc file) records: `md5` ends in `.dir` for a folder. `path` is relative to the project."""

    stage: str
    path: str
    md5: str
    size: int | None
    cached: bool
    pushed: bool


@dataclass(frozen=True, slots=True)
class Store:
    """The project's cache and outputs; `remote` opens a remote while the store is open."""

    cache: Path
    outputs: list[Output]
    repo: Any = field(repr=False)


@contextmanager
def opened(root: Path) -> Iterator[Store]:
    """The DVC project in `root`. UserError when there is none, or when dvc.yaml or dvc.lock cannot be read."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

    try:
        repo = Repo(str(root))
    except DvcException as error:
        raise UserError("no_dvc", f"{root} is no DVC project: {error}", "run this in the project's folder") from None
    with repo:
        try:
            found = [
                Output(
                    stage=out.stage.name if isinstance(out.stage, PipelineStage) else out.stage.addressing,
                    path=Path(out.fs_path).relative_to(root.resolve()).as_posix(),
                    md5=out.hash_info.value,
                    size=out.meta.size if out.meta else None,
                    cached=bool(out.use_cache),
                    pushed=bool(out.use_cache and out.can_push),
                )
                for out in repo.index.outs
                if out.hash_info and out.hash_info.name == "md5" and out.protocol == "local"
            ]
        except DvcException as error:
            what = f"DVC cannot read what was recorded: {error}"
            raise UserError("bad_pipeline", what, "`git diff dvc.yaml dvc.lock`; `git checkout dvc.lock`") from None
        yield Store(Path(repo.cache.local.path), sorted(found, key=lambda out: out.path), repo)


def cache(root: Path) -> Path:
    """Where DVC keeps the objects of the project in `root`, without looking at its stages."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            return Path(repo.cache.local.path)
    except DvcException as error:
        raise UserError("no_dvc", f"{root} is no DVC project: {error}", "run this in the project's folder") from None


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote through fsspec: what `dvc push` wrote lies as `<path>/ab/cdef...`."""

    name: str
    protocol: str
    path: str
    files: Any

    def place(self, md5: str) -> str:
        """Where an object lies in the remote."""
        return f"{self.path}/{md5[:2]}/{md5[2:]}"

    def listing(self) -> dict[str, dict[str, Any]]:
        """Every object there is, by md5, with what the store says of it (size, ETag). UserError when it cannot say."""
        try:
            found = self.files.find(self.path, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:  # every storage library has its own
            raise self.unreachable(error) from None
        return {"".join(place.rstrip("/").split("/")[-2:]): info for place, info in found.items()}

    def unreachable(self, error: Exception) -> UserError:
        """The error for a remote that does not answer or does not let us in."""
        what = f"the remote {self.name!r} ({self.protocol}) cannot be read: {type(error).__name__}: {error}"
        fix = f"see the section of {self.name!r} in .dvc/config, credentials and network; `dvc remote list`"
        return UserError("remote_unreachable", what, fix)


def remote(store: Store, name: str | None) -> Remote:
    """A remote by name, or DVC's default one. UserError when there is none, or one that stores no objects."""
    import fsspec
    from dvc.exceptions import DvcException

    try:
        found = store.repo.cloud.get_remote(name, "verify --remote")
        odb = store.repo.cloud.get_remote_odb(name, "verify --remote")
        protocol = odb.fs.protocol
        # DVC's own class for local files lacks half of fsspec's methods.
        base = fsspec.filesystem("file") if odb.fs.protocol == "local" else odb.fs.fs
    except DvcException as error:
        known = ", ".join(store.repo.config["remote"]) or "none"
        what = f"no remote {name or 'by default'}: {str(error).splitlines()[0]} (known: {known})"
        raise UserError("no_remote", what, "`dvc remote add -d NAME URL`, then `dvc push`") from None
    return Remote(found.name, protocol if isinstance(protocol, str) else protocol[0], odb.path, base)
