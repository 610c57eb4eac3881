"""`understudy verify --remote`: is everything dvc.lock refers to in a remote, whole?

A remote on a disk is read and hashed. Of S3 one listing tells names, sizes and ETags. An ETag that is a plain md5
proves an object; where ETag and size leave a doubt, the object itself is read: its md5 must be its name.
"""

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.versions import hashing, storage
from flows.versions.storage import Remote, Store
from flows.versions.verify import MOST, Owner, below
from tasks.errors import DONE, INTEGRITY, UserError

THREADS = 8  # reads of a remote wait for the network, not for a core
PLAIN_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


@dataclass
class Checked:
    """What a remote should hold, and what of it is not there or not right."""

    owners: dict[str, list[Owner]] = field(default_factory=lambda: defaultdict(list))
    missing: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)  # md5: why
    unknown: list[Owner] = field(default_factory=list)  # folders whose listing is nowhere
    by_size: int = 0  # objects known by name and size only
    rate: hashing.Rate = field(default_factory=lambda: hashing.Rate(0, 0.0))


def report(root: Path, name: str | None, deep: bool) -> int:
    """Check a remote, say exactly what is missing or damaged, and return an exit code of C9."""
    if not (root / ".dvc").is_dir():
        raise UserError("no_dvc", f"{root} is no DVC project", "run this in the project's folder")
    with storage.opened(root) as store:
        remote = storage.remote(store, name)
        checked = check(store, remote, deep)
    if not checked.owners:
        print("nothing to check yet: dvc.lock refers to no object that belongs in a remote; `make run` makes them")
        return DONE
    for md5 in checked.missing:
        print(f"MISSING  {remote.place(md5)}", *(f"         {owner}" for owner in checked.owners[md5][:3]), sep="\n")
    for md5, why in checked.damaged.items():
        print(f"DAMAGED  {remote.place(md5)}: {why}", *(f"         {o}" for o in checked.owners[md5][:3]), sep="\n")
    for owner in checked.unknown[:MOST]:
        print(f"UNKNOWN  {owner}: its list of files is neither here nor in the remote")
    return _sum_up(remote, checked)


def _sum_up(remote: Remote, checked: Checked) -> int:
    there = len(checked.owners) - len(checked.missing)
    print(
        f"remote {remote.name} ({remote.protocol}): {there:,} of {len(checked.owners):,} objects are there, read ",
        end="",
    )
    print(checked.rate)
    if checked.by_size:
        print(f"{checked.by_size:,} of them compared by name and size only; --deep reads them")
    if not (checked.missing or checked.damaged or checked.unknown):
        print("nothing is missing")
        return DONE
    print(f"{len(checked.missing)} missing, {len(checked.damaged)} damaged, {len(checked.unknown)} folders unknown")
    if stale := in_the_way(checked):
        print(
            f"fix: delete these {len(stale)} objects in the remote, for dvc push skips what is there by name, and every"
        )
        print(f"     file of a folder whose listing (.dir) is there; then `dvc push -r {remote.name}`")
        print(*(f"     {remote.place(md5)}" for md5 in stale), sep="\n")
    else:
        print(f"fix: `dvc push -r {remote.name}`; if the cache lacks them too, `dvc repro` first")
    return INTEGRITY


def in_the_way(checked: Checked) -> list[str]:
    """The objects that keep `dvc push` from mending the remote: damaged ones, and listings of folders with a bad file.

    DVC takes a listing in the remote as proof that all of its files are there (dvc_data's status is `shallow`).
    """
    bad = {*checked.missing, *checked.damaged}
    listings = {owner.output.md5 for md5 in bad for owner in checked.owners[md5] if owner.name}
    return sorted({*checked.damaged, *listings} - set(checked.missing))


def check(store: Store, remote: Remote, deep: bool) -> Checked:
    """Hold every object that the pushed outputs refer to against what the remote has."""
    there = remote.listing()
    checked = Checked()
    for output in (o for o in store.outputs if o.pushed):
        inside: dict[str, str] | None = {}
        if output.md5.endswith(".dir"):
            inside = _inside(store, remote, output, there)
            if inside is None:
                checked.unknown.append(Owner(output, ""))
        for name, md5 in {"": output.md5, **(inside or {})}.items():
            checked.owners[md5].append(Owner(output, name))
    doubtful = {}
    for md5 in sorted(checked.owners):
        if md5 not in there:
            checked.missing.append(md5)
        elif remote.protocol == "local" or deep or (verdict := _verdict(store, checked, md5, there[md5])) == "doubt":
            doubtful[md5] = int(there[md5].get("size") or 0)
        elif verdict == "size":
            checked.by_size += 1
    read, checked.rate = hashing.in_threads(lambda md5: _read(remote, md5), doubtful, "verify --remote", THREADS)
    checked.damaged = {md5: why for md5, why in read.items() if why}
    return checked


def _verdict(store: Store, checked: Checked, md5: str, info: dict[str, Any]) -> str:
    """`good` by its ETag, good as far as its `size` tells, or `doubt`: the object has to be read."""
    etag = PLAIN_MD5.fullmatch(str(info.get("ETag", "")))
    if etag:
        return "good" if etag[1] == md5.removesuffix(".dir") else "doubt"
    wanted = _size_here(store, checked, md5)
    return "size" if wanted is not None and wanted == info.get("size") else "doubt"


def _size_here(store: Store, checked: Checked, md5: str) -> int | None:
    """The size of the copy in the cache or the workspace; a damaged copy only costs reading the remote's."""
    copies = [
        store.cache / md5[:2] / md5[2:],
        *(owner.path for owner in checked.owners[md5] if not md5.endswith(".dir")),
    ]
    return next((path.stat().st_size for path in copies if path.is_file()), None)


def _read(remote: Remote, md5: str) -> str:
    """Why an object is damaged; "" when its content is what its name says."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    try:
        with remote.files.open(remote.place(md5), "rb") as stream:
            while block := stream.read(hashing.BLOCK):
                digest.update(block)
                size += len(block)
    except Exception as error:  # every storage library has its own
        return f"cannot be read: {type(error).__name__}: {error}"
    if digest.hexdigest() == md5.removesuffix(".dir"):
        return ""
    return f"truncated or altered: its {size:,} bytes have the md5 {digest.hexdigest()}"


def _inside(
    store: Store, remote: Remote, output: storage.Output, there: dict[str, dict[str, Any]]
) -> dict[str, str] | None:
    """relpath → md5 of a folder, from a listing that is sound: the cache's, the remote's, or made of the workspace."""
    wanted = output.md5.removesuffix(".dir")
    cached = store.cache / output.md5[:2] / output.md5[2:]
    contents = [cached.read_bytes()] if cached.is_file() else []
    if not contents or _md5(contents[0]) != wanted:
        try:
            contents = [remote.files.cat_file(remote.place(output.md5))] if output.md5 in there else []
        except Exception as error:  # every storage library has its own
            raise remote.unreachable(error) from None
    if contents and _md5(contents[0]) == wanted:
        return hashing.listing(contents[0])
    folder = Path(output.path)
    if not folder.is_dir():
        return None
    now = {p.relative_to(folder).as_posix(): hashing.hash_file(p).md5 for p in below(folder)}
    return now if hashing.folder_md5(now) == output.md5 else None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
