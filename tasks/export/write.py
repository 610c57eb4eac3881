"""`understudy export`: the label table of a round in a form other tools read, published whole or not at all."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

from tasks import files
from tasks.errors import Busy, UserError
from tasks.export import images, pictures, rows, tables
from tasks.export.names import class_folder
from tasks.params import Settings

Format = Literal["csv", "parquet", "folders", "huggingface", "fiftyone", "coco"]
FORMATS: tuple[Format, ...] = get_args(Format)
PROVENANCE = "provenance.json"
TABLES: dict[str, Callable[[Path, Path, dict[str, Any]], None]] = {
    "csv": tables.write_csv,
    "parquet": tables.write_parquet,
}
WITH_IMAGES: dict[str, Callable[[images.Pictures, Path, list[str]], None]] = {
    "folders": images.write_folders,
    "huggingface": images.write_huggingface,
    "coco": images.write_coco,
    "fiftyone": images.write_fiftyone,
}


def export(format_: str, choice: rows.Choice, settings: Settings, out: Path, force: bool) -> str:
    """Write the folder `out` with the export and provenance.json; what is in it, in a sentence.

    Inputs are verified, rows and images streamed; the folder appears by one rename, so that half an export is never
    seen. A folder that is not empty is replaced with `force` only. Same inputs, same bytes.
    """
    if format_ not in FORMATS:
        raise UserError("unknown_format", f"there is no format {format_!r}", f"use one of {', '.join(FORMATS)}")
    _refuse_target(out, force)
    with _staged(out) as staged:
        found, content = staged / "rows.parquet", staged / "content"
        content.mkdir()
        made = rows.gather(choice, settings, found)
        classes: list[str] = files.read_json(files.SPLIT / "classes.json")
        provenance: dict[str, Any] = {"understudy": version("understudy"), "format": format_, "round": choice.round}
        provenance |= {"classes": classes, **made}
        left_out = 0
        if format_ in TABLES:
            TABLES[format_](found, content, provenance)
        else:
            provenance["inputs"] |= pictures.verified(files.IMAGES)
            wanted = rows.index(found)
            left_out = made["rows"] - wanted.num_rows
            provenance["without_label"] = left_out
            if format_ == "folders":
                provenance["folders"] = {class_folder(name): name for name in classes}
            WITH_IMAGES[format_](pictures.stream(wanted, files.IMAGES), content, classes)
        files.write_json(provenance, content / PROVENANCE)
        gifs = sum(1 for _ in content.rglob("*.gif")) if format_ == "folders" else 0
        os.sync()  # one call for a million files
        files.move_into_place(content, out)
    without = f"; {left_out} of them without a label, left out" if left_out else ""
    skipped = f"; {gifs} are GIF, which torchvision's ImageFolder passes over" if gifs else ""
    return f"{out}: {made['rows']} rows as {format_}, {made['selection']}{without}{skipped}"


def _refuse_target(out: Path, force: bool) -> None:
    here, target = Path.cwd().resolve(), out.resolve()
    if here == target or target in here.parents or target.is_relative_to(here / "data"):
        raise UserError("bad_target", f"{out} holds the project itself", "name a new folder, for example exports/r1")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UserError("bad_target", f"{out} is not a folder", "an export is a folder; name a new one")
    if not out.is_dir() and out.suffix in {".csv", ".parquet", ".json"}:
        fix = f"name a folder: {out.with_suffix('')} will hold {out.with_suffix('').name}/labels{out.suffix}"
        raise UserError("bad_target", f"{out}: an export is a folder with its provenance beside it", fix)
    if out.is_dir() and any(out.iterdir()) and not force:
        raise UserError("not_empty", f"{out} is not empty", "name another folder, or replace it with --force")


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """An empty folder beside `out`, on the same file system, for one writer; gone afterwards, whatever happens."""
    out.parent.mkdir(parents=True, exist_ok=True)
    staged = out.parent / f".{out.name}.understudy-export"
    staged.mkdir(exist_ok=True)
    held = os.open(staged, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("busy", f"another export to {out} is at work", "wait for it, or name another folder") from None
        for leftover in staged.iterdir():  # of a killed export
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        yield staged
        shutil.rmtree(staged)
    except BaseException as error:
        if not isinstance(error, Busy):
            shutil.rmtree(staged, ignore_errors=True)
        raise
    finally:
        os.close(held)
