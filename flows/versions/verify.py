"""`understudy verify`: is every byte of the workspace and of DVC's cache what was recorded?

DVC does not ask: it trusts a cache object whose mode is 0444 without reading it, and would check out half a file
(RELIABILITY, fact 6). Here every file is read. Three records are held against each other: an artefact's MANIFEST.json
(sha256), dvc.lock (md5), and the name of a cache object, which is its md5.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from flows.versions import hashing, storage
from flows.versions.hashing import Hashed
from flows.versions.storage import Output
from tasks import files
from tasks.errors import DONE, INTEGRITY

QUARANTINE = files.WORK / "quarantined-cache"
MOST = 20  # lines of a kind


@dataclass(frozen=True, slots=True)
class Bad:
    """One damaged file: what is wrong, whose it is, and the commands that mend it."""

    path: Path
    what: str
    belongs: str
    fix: str

    def __str__(self) -> str:
        return f"BAD   {self.path}\n      {self.what}\n      {self.belongs}\n      fix: {self.fix}"


@dataclass(frozen=True, slots=True)
class Owner:
    """Which output an object belongs to; `name` is the file inside a folder, "" for the output itself."""

    output: Output
    name: str

    @property
    def path(self) -> Path:
        """Where the object's content lies in the workspace."""
        return Path(self.output.path, self.name)

    def __str__(self) -> str:
        what = f", file {self.name}" if self.name else ""
        return f"belongs to stage {self.output.stage}, output {self.output.path}{what}"


class Found:
    """Everything that was read, and what DVC recorded about it."""

    def __init__(self, root: Path, cache: Path | None, outputs: list[Output]) -> None:
        self.root, self.cache, self.outputs = root, cache, outputs
        self.artefacts = sorted(record.parent for record in Path("data").rglob(files.MANIFEST))
        self.here = [output for output in outputs if Path(output.path).exists()]
        in_cache = sorted(cache.rglob("*")) if cache else []
        self.objects = {}
        self.strangers = []
        for path in (p for p in in_cache if p.is_file()):
            name = path.parent.name + path.name
            if hashing.OBJECT.fullmatch(name):
                self.objects[name] = path
            else:
                self.strangers.append(path)

    def read(self) -> hashing.Rate:
        """Read and hash all of it."""
        paths = {p for folder in [*self.artefacts, *(Path(o.path) for o in self.here)] for p in below(folder)}
        self.hashed, rate = hashing.hash_all(sorted(paths | set(self.objects.values())), "verify")
        self.inside = {o.path: self._inside(o) for o in self.outputs if o.md5.endswith(".dir")}
        self.owners: dict[str, list[Owner]] = defaultdict(list)
        for output in self.outputs:
            for name, md5 in {"": output.md5, **(self.inside.get(output.path) or {})}.items():
                self.owners[md5].append(Owner(output, name))
        return rate

    def sound(self, md5: str) -> bool:
        """Whether the cache holds an object and its content is what its name says."""
        path = self.objects.get(md5)
        return path is not None and self.hashed[path].md5 == md5.removesuffix(".dir")

    def now(self, output: Output) -> dict[str, str]:
        """relpath → md5 of an output folder as it stands in the workspace."""
        folder = Path(output.path)
        return {p.relative_to(folder).as_posix(): self.hashed[p].md5 for p in below(folder)}

    def _inside(self, output: Output) -> dict[str, str] | None:
        """relpath → md5 of a folder as it was recorded; None when neither cache nor workspace can tell."""
        if self.sound(output.md5):
            return hashing.listing(self.objects[output.md5].read_bytes())
        now = self.now(output)
        return now if hashing.folder_md5(now) == output.md5 else None


def report(root: Path, fix: bool) -> int:
    """Check, say what is bad and how to mend it, and return an exit code of C9."""
    found = _look(root)
    if not (found.artefacts or found.here or found.objects):
        print("nothing to check yet: no artefact under data/, no object in DVC's cache; `make run` makes them")
        return DONE
    rate = found.read()
    bad_files = list(workspace(found))
    for folder in found.artefacts:
        if not any(folder in bad.path.parents or bad.path == folder for bad in bad_files):
            print(f"good  {folder}")
    bad_objects = list(cache(found))
    for bad in [*bad_files, *bad_objects]:
        print(bad)
    _notes(found)
    if fix and bad_objects:
        _quarantine(found, bad_objects)
    n_bad = len(bad_files) + len(bad_objects)
    n_files = len(found.hashed) - len(found.objects)
    print(f"{n_files:,} files in {len(found.artefacts)} artefacts, {len(found.objects):,} cache objects: {rate}")
    print(f"{n_bad} of them bad" if n_bad else "all of them as recorded")
    return INTEGRITY if n_bad else DONE


def workspace(found: Found) -> Iterator[Bad]:
    """What in the workspace is not what dvc.lock or its commit record says; each file once."""
    said: set[Path] = set()
    complaints = chain(
        *(_against_lock(found, output) for output in found.here),
        *(_against_record(found, folder) for folder in found.artefacts),
    )
    for path, what, owner in complaints:
        # A damaged commit record cannot accuse the files it names: dvc.lock knows them too.
        if path not in said and not any(folder / files.MANIFEST in said for folder in path.parents):
            said.add(path)
            yield Bad(path, f"{path} {what}", owner, _mend(found, path))


def cache(found: Found) -> Iterator[Bad]:
    """Objects of the cache whose content is not what their name says."""
    for md5, path in found.objects.items():
        if found.sound(md5):
            continue
        hashed, owners = found.hashed[path], found.owners.get(md5, [])
        sizes = {size for owner in owners if (size := _size(found, owner, md5)) is not None}
        what = f"cannot be read: {hashed.error}" if hashed.error else f"its content has the md5 {hashed.md5}"
        if sizes and hashed.size not in sizes:
            what = f"it has {hashed.size:,} bytes, recorded: {sizes.pop():,}"
        whose = "; ".join(map(str, owners[:3])) or "no output of dvc.lock refers to it: it is of an earlier state"
        yield Bad(path, what, whose, f"rm -f {path} (`understudy verify --fix` moves it away), {_again(found, md5)}")


def below(path: Path) -> list[Path]:
    """The files of a folder, or the file itself."""
    return [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]


def _look(root: Path) -> Found:
    if not (root / ".dvc").is_dir():
        return Found(root, None, [])
    with storage.opened(root) as store:
        where = store.cache
        place = where.relative_to(root.resolve()) if where.is_relative_to(root.resolve()) else where
        return Found(root, place, store.outputs)


Complaint = tuple[Path, str, str]


def _against_lock(found: Found, output: Output) -> Iterator[Complaint]:
    path, owner = Path(output.path), str(Owner(output, ""))
    if not output.md5.endswith(".dir"):
        hashed = found.hashed.get(path)
        if hashed is None:
            yield path, "is a folder now, dvc.lock records a file", owner
        elif hashed.md5 != output.md5:
            yield path, _differs(hashed, output.size, "dvc.lock"), owner
        return
    now, recorded = found.now(output), found.inside[output.path]
    if recorded is None:
        if not any(_against_record(found, path)):
            yield path, "is not what dvc.lock records; which file, no listing in the cache can say", owner
        return
    for name in sorted(now.keys() | recorded.keys()):
        if name not in now:
            yield path / name, "is missing but stands in dvc.lock", str(Owner(output, name))
        elif name not in recorded:
            yield path / name, "is in no record", str(Owner(output, name))
        elif now[name] != recorded[name]:
            size = _size_in_record(path, name)
            yield path / name, _differs(found.hashed[path / name], size, "dvc.lock"), str(Owner(output, name))


def _against_record(found: Found, folder: Path) -> Iterator[Complaint]:
    """What an artefact's commit record says of its files."""
    record = folder / files.MANIFEST
    try:
        value = files.read_json(record)
        stage, entries = value["stage"], {n: (int(e["size"]), str(e["sha256"])) for n, e in value["files"].items()}
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError, AttributeError):
        yield record, "is no commit record", f"belongs to artefact {folder}"
        return
    owner = f"belongs to stage {stage}, artefact {folder}"
    present = {p.relative_to(folder).as_posix() for p in below(folder)} - {files.MANIFEST}
    for name in sorted(present | entries.keys()):
        if name not in present:
            yield folder / name, f"is missing but stands in the commit record of {stage}", owner
        elif name not in entries:
            yield folder / name, f"is not in the commit record of {stage}", owner
        elif found.hashed[folder / name].sha256 != entries[name][1]:
            yield folder / name, _differs(found.hashed[folder / name], entries[name][0], stage), owner


def _differs(hashed: Hashed, size: int | None, by: str) -> str:
    if hashed.error:
        return f"cannot be read: {hashed.error}"
    if size is not None and hashed.size != size:
        return f"has {hashed.size:,} bytes, recorded: {size:,}"
    return f"was altered after it was recorded by {by} (its content differs)"


def _size_in_record(folder: Path, name: str) -> int | None:
    try:
        return int(files.read_json(folder / files.MANIFEST)["files"][name]["size"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _size(found: Found, owner: Owner, md5: str) -> int | None:
    """How many bytes an object should have, where the record or a good copy in the workspace tells."""
    if not owner.name:
        return None if md5.endswith(".dir") else owner.output.size
    copy = found.hashed.get(owner.path)
    return copy.size if copy and copy.md5 == md5 else _size_in_record(Path(owner.output.path), owner.name)


def _mend(found: Found, path: Path) -> str:
    """The commands that bring a file of the workspace back."""
    output = next((o for o in found.here if path == Path(o.path) or path.is_relative_to(o.path)), None)
    if output is None:
        folder = next(f for f in found.artefacts if path.is_relative_to(f))
        return f"rm -r {folder}, then `dvc repro`: it is restored from the cache or computed again"
    inside = found.inside.get(output.path)
    if found.sound(output.md5) and all(map(found.sound, (inside or {}).values())):
        if path.name == files.MANIFEST and path.is_file() and not any(_against_record(found, path.parent)):
            then = f"`dvc checkout --force {output.path}` goes back"
            return f"if a run was stopped before DVC took it in, `dvc repro {output.stage}` does; else {then}"
        return f"`dvc checkout --force {output.path}` (its copy in the cache is good)"
    return f"rm -r {output.path}, then `understudy verify --fix` and `dvc repro {output.stage}`"


def _again(found: Found, md5: str) -> str:
    """How a deleted object comes back."""
    for owner in found.owners.get(md5, []):
        if md5.endswith(".dir"):
            good = hashing.folder_md5(found.now(owner.output)) == md5 if Path(owner.output.path).is_dir() else False
        else:
            good = (copy := found.hashed.get(owner.path)) is not None and copy.md5 == md5
        if good:
            return f"then `dvc commit -f {owner.output.stage}` (the copy in the workspace is good)"
        return f"then `dvc pull {owner.output.stage}`, or without a remote `dvc repro {owner.output.stage}`"
    return "and fetch it again (`dvc fetch --all-commits`) only if you want that state back"


def _notes(found: Found) -> None:
    """What is no damage but good to know."""
    absent = [output.path for output in found.outputs if not Path(output.path).exists()]
    lost = sorted({str(owner) for md5, owners in found.owners.items() if md5 not in found.objects for owner in owners})
    lost = lost if found.cache else []
    left = list(map(str, found.strangers))
    for names, what in (
        (absent, "outputs of dvc.lock are not in the workspace: `dvc checkout`, `dvc pull` or `dvc repro`"),
        (lost, "objects of dvc.lock are not in the cache: `dvc commit -f` or `dvc pull`"),
        (left, "files in the cache are no objects, left by an interrupted dvc: they can be deleted"),
    ):
        if names:
            more = [f"      and {len(names) - MOST} more"] if len(names) > MOST else []
            print("\n".join([f"note  {len(names)} {what}", *(f"      {n}" for n in names[:MOST]), *more]))


def _quarantine(found: Found, bad: list[Bad]) -> None:
    for one in bad:
        target = QUARANTINE / one.path.parent.name / one.path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(one.path, target)
    print(f"moved {len(bad)} bad objects to {QUARANTINE}; the commands above bring good ones")
