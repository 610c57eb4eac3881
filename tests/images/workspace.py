"""A folder in which ingest and split run in this process, and pictures to put into a source."""

import contextlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from tasks import files, stage
from tests.conftest import ROOT

SUFFIX = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "BMP": "bmp", "GIF": "gif", "TIFF": "tif"}


def picture(number: int, format_: str = "PNG", side: int = 8) -> bytes:
    """A small image of noise, another one for every number."""
    pixel_HWC = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixel_HWC).save(stream, format_)
    return stream.getvalue()


def write_all(root: Path, content_of: Mapping[str, bytes]) -> None:
    """Files by their path below `root`."""
    for name, content in content_of.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_hf(path: Path, rows: Sequence[tuple[bytes | None, str | None, int | None]], names: Sequence[str]) -> None:
    """A table as Hugging Face's `datasets` writes it: bytes, path and label index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    features = {"image": {"_type": "Image"}, "label": {"names": [*names], "_type": "ClassLabel"}}
    images = pa.array(
        [{"bytes": content, "path": name} for content, name, _ in rows],
        pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())]),
    )
    labels = pa.array([label for *_, label in rows], pa.int64())
    table = pa.table({"image": images, "label": labels})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path)


class Workspace:
    """A working directory with params.yaml; the source lies in `source` unless the settings say otherwise."""

    def __init__(self, folder: Path, **sections: Mapping[str, Any]) -> None:
        self.folder = folder
        settings = yaml.load((ROOT / "params.yaml").read_text(), yaml.CSafeLoader)
        defaults = {
            "ingest": {"max_bad_fraction": 1.0},
            "scan": {"settle_seconds": 0, "rehash": 0.0},
            "split": {"labels": None, "test": 0, "calib": 0, "gate": 0},
        }
        own = {"kind": "folder", "path": "source", **sections.pop("source", {})}
        settings["sources"] = {"own": own}
        for name, values in [*defaults.items(), *sections.items()]:
            settings[name].update(values)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "params.yaml").write_text(yaml.dump(settings, Dumper=yaml.CSafeDumper))
        self._settle()

    def _settle(self) -> None:
        write_all(self.folder, {str(files.CONFLICTS): b"image_id,label,who,when\n"})

    @property
    def source(self) -> Path:
        """Where the source lies."""
        return self.folder / "source"

    def run(self, name: str, source: str = "own") -> tuple[int, str]:
        """Run a stage, where there is one a source that of `source`; its exit code and all it said."""
        said = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return stage.main(name, source if name in stage.EACH else ""), said.getvalue()

    def table(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table, as in `catalog/own/images`."""
        rows: list[dict[str, Any]] = files.read_table(self.folder / "data" / f"{name}.parquet").to_pylist()
        return rows

    def reasons(self) -> dict[str, str]:
        """Why a path was quarantined."""
        return {row["path"]: row["reason"] for row in self.table("quarantine/own/quarantine")}

    def labels(self) -> dict[str, tuple[str, str]]:
        """image_id and label by path."""
        return {row["path"]: (row["image_id"], row["label"]) for row in self.table("catalog/own/labels")}

    def summary(self, name: str) -> dict[str, Any]:
        """The numbers a stage left."""
        value: dict[str, Any] = files.read_json(
            self.folder / files.metrics(f"{name}@own" if name in stage.EACH else name)
        )
        return value

    def hashes(self) -> dict[str, str]:
        """sha256 of every published file."""
        paths = sorted(path for path in (self.folder / "data").rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): files.sha256_file(path) for path in paths}

    @contextlib.contextmanager
    def inside(self) -> Iterator[Path]:
        """Be there for a while."""
        with contextlib.chdir(self.folder):
            yield self.folder

    def clear(self) -> None:
        """Forget everything that was published."""
        for name in ("data", ".work"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self._settle()


def names(root: Path) -> list[str]:
    """All files below `root`, as `os.walk` finds them."""
    return [os.path.relpath(os.path.join(at, name), root) for at, _, found in os.walk(root) for name in found]
