"""Source `folder`: labeled/<class>/..., pool/..., optional test/<class>/..., each as deep as you like."""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from tasks.errors import UserError
from tasks.images.record import IGNORED, Origin, Record, Refusal, Source, printable, refuse_path, unknown_class

JUNK = {"thumbs.db", "desktop.ini", "__macosx"}
ORIGINS: dict[str, Origin] = {name: name for name in get_args(Origin)}


def read(path: Path) -> Source:
    """All files below `path` in the order of their names; the classes are the folders of labeled/.

    Raises UserError for a folder that has no place here or a test class that labeled/ does not have.
    """
    root = path.resolve()
    if not root.is_dir():
        raise UserError("no_source", f"source {path} is no folder", "name a folder, or use kind: manifest")
    _refuse_other_folders(root, path)
    classes = _subfolders(root / "labeled")
    if not classes:
        what = f"{path}/labeled holds no class folders; expected labeled/<class>/<image>"
        raise UserError("no_labels", what, f"make {path}/labeled/<class> for each class and put its images there")
    for name in _subfolders(root / "test"):
        if name not in classes:
            raise UserError("unknown_class", f"{path}/test/{name}: {unknown_class(name, classes)}", "rename the folder")
    total = sum(len(names) for _, _, names in os.walk(root))
    return Source([printable(name) for name in classes], total, _records(root))


def _refuse_other_folders(root: Path, path: Path) -> None:
    for name in _subfolders(root):
        if name not in ORIGINS:
            near = {"unlabeled": "pool", "unlabelled": "pool", "train": "labeled", "val": "test"}.get(name.lower())
            near = near or next(iter(difflib.get_close_matches(name.lower(), ORIGINS, n=1)), None)
            hint = f"; did you mean {near!r}?" if near else ""
            what = f"{path}/{printable(name)} is none of {', '.join(ORIGINS)}{hint}"
            raise UserError("unknown_folder", what, "rename the folder or move it elsewhere")


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and not _is_junk(e.name))


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def _records(root: Path) -> Iterator[Record]:
    for folder, subfolders, names in os.walk(root):
        links = [name for name in subfolders if os.path.islink(os.path.join(folder, name))]
        subfolders[:] = sorted(name for name in subfolders if name not in links)
        for name in sorted([*names, *links]):
            yield _record(root, Path(folder, name))


def _record(root: Path, path: Path) -> Record:
    parts = path.relative_to(root).parts
    origin = ORIGINS.get(parts[0]) if len(parts) > 1 else None
    has_class = origin in {"labeled", "test"}
    label = printable(parts[1]) if has_class and len(parts) > 2 else None
    content: Path | Refusal = path
    if any(_is_junk(part) for part in parts):
        content = Refusal(IGNORED, "")
    elif refusal := refuse_path(root, path):
        content = refusal
    elif origin is None or (has_class and label is None):
        content = Refusal("misplaced", "belongs into labeled/<class>/, pool/ or test/<class>/")
    return Record(printable(Path(*parts)), printable(Path(*parts[:-1])), origin, label, content)
