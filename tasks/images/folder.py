"""Source `folder`: image files in one of four layouts, each as deep as you like below its class or pool.

    understudy   labeled/<class>/..., pool/..., optional test/<class>/...; a part that is not there is empty
    split        train/<class>/..., test/<class>/... (or val/), unlabeled/...: as many data sets are handed out
    classes      <class>/...: every folder is a class, every image labeled
    pool         everything below is unlabeled

The layout is a setting, never guessed: a folder of another layout is refused with the name of the one it looks like.
The walk keeps the names of one folder at a time; a plain file costs no system call of its own.
"""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tasks.errors import UserError
from tasks.images.record import IGNORED, Origin, Record, Refusal, Source, printable, refuse_path, unknown_class
from tasks.progress import Progress

Layout = Literal["understudy", "split", "classes", "pool"]
Parts = tuple[str, ...]

JUNK = {"thumbs.db", "desktop.ini", "__macosx"}
PLACES: dict[str, dict[str, Origin]] = {
    "understudy": {"labeled": "labeled", "pool": "pool", "test": "test"},
    "split": {"train": "labeled", "test": "test", "val": "test", "unlabeled": "pool"},
}
NEAR = {"unlabelled": "pool", "unlabeled": "pool", "train": "labeled", "val": "test", "training": "train"}
STRAY = {
    "understudy": "belongs into labeled/<class>/, pool/ or test/<class>/",
    "split": "belongs into train/<class>/, test/<class>/ or unlabeled/",
    "classes": "belongs into <class>/",
}


def read(path: Path, layout: Layout, key: str = "layout") -> Source:
    """All files below `path` in the order of their names; the classes are the folders of the labeled part.

    Raises UserError for a folder that has no place in this layout (`key` is the setting to change) or a test class that
    no labeled image has.
    """
    root = path.resolve()
    if not root.is_dir():
        raise UserError("no_source", f"source {path} is no folder", "name a folder, or use kind: manifest")
    _refuse_other_layout(root, path, layout, key)
    classes = _classes(root, path, layout)
    total = 0
    with Progress(0, f"looking through {path}", "files") as progress:
        for _, found in _walk(root):
            total += len(found) if isinstance(found, list) else 1
            progress.advance(len(found) if isinstance(found, list) else 1)
    return Source([printable(name) for name in classes], total, _records(root, layout))


def _refuse_other_layout(root: Path, path: Path, layout: Layout, key: str) -> None:
    """The top folders are what this layout has there, or the error names the layout they look like."""
    found = _subfolders(root)
    other = _looks_like(set(found), layout)
    if layout not in PLACES:
        if other:
            what = f"{path} holds the folders {_named(found)}, which are no {_what(layout)}"
            raise UserError("other_layout", what, f"set {key}: {other} in params.yaml (now {layout})")
        return
    places = PLACES[layout]
    odd = next((name for name in found if name not in places), None)
    if odd is None and (found or not _has_files(root)):
        if {"val", "test"} <= set(found) and layout == "split":
            what = f"{path} holds val and test; one of them can be the test set"
            raise UserError("two_test_sets", what, "move one of them elsewhere, or its classes into train")
        return
    if odd is None:
        what = f"{path} holds files but none of the folders {', '.join(places)}"
        raise UserError("other_layout", what, f"set {key}: pool in params.yaml if nothing here is labeled")
    near = NEAR.get(odd.lower()) if NEAR.get(odd.lower()) in places else None
    near = near or next(iter(difflib.get_close_matches(odd.lower(), places, n=1)), None)
    hint = f"; did you mean {near!r}?" if near else ""
    fix = f"set {key} in params.yaml: classes if the folders are the classes, pool if nothing here is labeled"
    fix = f"set {key}: {other} in params.yaml" if other else fix
    what = f"{path}/{printable(odd)} is none of {', '.join(places)} (layout {layout}){hint}"
    raise UserError("unknown_folder", what, f"rename the folder or move it elsewhere; or {fix}")


def _looks_like(found: set[str], layout: Layout) -> Layout | None:
    """The layout that folders of these names were surely meant for, if it is not the given one."""
    if "train" in found and found & {"test", "val", "unlabeled"} and layout != "split":
        return "split"
    if "labeled" in found and layout in {"split", "pool"}:
        return "understudy"
    return "understudy" if layout == "classes" and "labeled" in found and found & {"pool", "test"} else None


def _what(layout: Layout) -> str:
    return "classes" if layout == "classes" else "pool: their labels would be lost"


def _named(names: list[str]) -> str:
    return ", ".join(printable(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")


def _classes(root: Path, path: Path, layout: Layout) -> list[str]:
    """Class names, sorted: the folders of the labeled part; where there is none, those of the test set."""
    if layout == "pool":
        return []
    if layout == "classes":
        if not (classes := _subfolders(root)):
            what = f"{path} holds no class folders; expected <class>/<image>"
            raise UserError("no_labels", what, "put the images of each class into a folder of its name")
        return classes
    places = PLACES[layout]
    labeled = next(name for name, origin in places.items() if origin == "labeled")
    classes = _subfolders(root / labeled)
    if not classes and (root / labeled).is_dir():
        what = f"{path}/{labeled} holds no class folders; expected {labeled}/<class>/<image>"
        raise UserError("no_labels", what, f"make {path}/{labeled}/<class> for each class and put its images there")
    tests = [(place, name) for place, o in places.items() if o == "test" for name in _subfolders(root / place)]
    if not classes:
        return sorted({name for _, name in tests})
    for place, name in tests:
        if name not in classes:
            what = f"{path}/{place}/{printable(name)}: {unknown_class(name, classes)}"
            raise UserError("unknown_class", what, "rename the folder")
    return classes


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir() or folder.is_symlink():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and not _is_junk(e.name))


def _has_files(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(not e.is_dir(follow_symlinks=False) and not _is_junk(e.name) for e in entries)


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def _walk(root: Path) -> Iterator[tuple[Parts, list[tuple[str, bool]] | OSError]]:
    """Folder by folder, top down, sorted: its parts, and its files with whether each is a plain one (no link, no pipe).

    Links are never followed, so a loop of links is no loop here. A folder that cannot be listed comes with its error.
    """
    waiting: list[Parts] = [()]
    while waiting:
        parts = waiting.pop()
        try:
            with os.scandir(os.path.join(root, *parts)) as entries:
                found = sorted(
                    (e.name, e.is_dir(follow_symlinks=False), e.is_file(follow_symlinks=False)) for e in entries
                )
        except OSError as error:
            yield parts, error
            continue
        yield parts, [(name, is_plain) for name, is_folder, is_plain in found if not is_folder]
        waiting += [(*parts, name) for name, is_folder, _ in reversed(found) if is_folder]


def _records(root: Path, layout: Layout) -> Iterator[Record]:
    for parts, found in _walk(root):
        origin, label = _meaning(parts, layout)
        place, is_junk = printable("/".join(parts) or "."), any(map(_is_junk, parts))
        has_place = origin is not None and (origin == "pool" or label is not None)
        if isinstance(found, OSError):
            refusal = Refusal("unreadable", f"the folder cannot be listed: {found.strerror}")
            yield Record(place, place, origin, label, refusal)
            continue
        folder, prefix = os.path.join(root, *parts, ""), "/".join((*parts, ""))
        for name, is_plain in found:
            path = folder + name
            content: str | Refusal = path
            withheld = None
            if is_junk or _is_junk(name):
                content = Refusal(IGNORED, "")
            elif not is_plain and (refused := refuse_path(root, Path(path))):
                content = refused
            elif not has_place:
                content, withheld = Refusal("misplaced", STRAY[layout]), path
            yield Record(printable(prefix + name), place, origin, label, content, withheld)


def _meaning(parts: Parts, layout: Layout) -> tuple[Origin | None, str | None]:
    """Origin and class of the files in a folder; None where nothing belongs."""
    if layout == "pool":
        return "pool", None
    if layout == "classes":
        return "labeled", printable(parts[0]) if parts else None
    origin = PLACES[layout].get(parts[0]) if parts else None
    has_class = origin in {"labeled", "test"} and len(parts) > 1
    return origin, printable(parts[1]) if has_class else None
