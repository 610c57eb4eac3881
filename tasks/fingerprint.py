"""Stage `fingerprint@SOURCE`: what copies of an image share, so that `split` can find them without decoding.

Each part of the images has a part of fingerprints. What an unchanged part gave is kept beside the stage's lock and not
decoded again: a grown source costs what was added.
"""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa

from tasks import files
from tasks.core.fingerprints import DECODED, SIDE, hashes, shrink
from tasks.errors import Integrity
from tasks.images import decode as decoding
from tasks.images.decode import decode
from tasks.progress import Progress
from tasks.stage import Stage

PARAMS = ("image.background",)
BLOCK = 256  # images a thread takes at once
SCHEMA = pa.schema(
    [  # type: ignore[arg-type]  # the stubs do not know fields of different types in one list
        pa.field("image_id", pa.string()),
        pa.field("phash", pa.uint64()),
        pa.field("phash_mirrored", pa.uint64()),
        pa.field("thumb", pa.binary(SIDE * SIDE)),  # grey, upright, the middle of the image
    ]
)


def fingerprint(stage: Stage, source: str) -> None:
    """data/images/SOURCE in, data/fingerprints/SOURCE out: image_id, two hashes and a thumbnail a row."""
    folder = stage.input(files.images(source))
    out, kept = stage.output(files.fingerprints(source)), stage.home / "kept"
    kept.mkdir(exist_ok=True)
    content = files.read_json(folder / files.MANIFEST)["files"]
    rows = reused = 0
    used = set[str]()
    with Progress(len(parts := files.parts(folder)), stage.name, "parts") as progress:
        for path in parts:
            key = _key(content[path.relative_to(folder).as_posix()]["sha256"], stage.settings.image.background)
            table, is_new = _fingerprints(path, kept / f"{key}.parquet", stage.settings.image.background)
            shutil.copyfile(kept / f"{key}.parquet", out / path.name)
            used.add(f"{key}.parquet")
            rows, reused = rows + table.num_rows, reused + (0 if is_new else table.num_rows)
            progress.advance(1)
    for path in kept.iterdir():
        if path.name not in used:
            path.unlink()
    stage.summary(images=rows)
    print(f"{stage.name}: {rows} images, {rows - reused} of them new")


def _key(content: str, background: int) -> str:
    """What a part of fingerprints follows from: the part's bytes, and what describes an image."""
    code = [files.sha256_file(Path(f)) for f in (__file__, hashes.__code__.co_filename, str(decoding.__file__))]
    return files.digest([content, background, PIL.__version__, *code])[:32]


def _fingerprints(path: Path, kept: Path, background: int) -> tuple[pa.Table, bool]:
    """The fingerprints of a part of images, and whether they were computed now; a damaged kept file is no help."""
    if kept.exists():
        try:
            return files.read_table(kept), False
        except Integrity:
            kept.unlink()
    images = files.read_table(path).to_pydict()
    thumb_NHW = _thumbnails(images["image_id"], images["bytes"], background)
    phash, mirrored = hashes(thumb_NHW)
    thumbs = [thumb.tobytes() for thumb in thumb_NHW]
    columns: list[Any] = [images["image_id"], phash, mirrored, thumbs]
    table = pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)
    temporary = kept.with_suffix(".tmp")
    files.write_table(table, temporary)
    temporary.replace(kept)
    return table, True


def _thumbnails(ids: list[str], contents: list[bytes], background: int) -> np.ndarray:
    thumb_NHW = np.empty((len(ids), SIDE, SIDE), np.uint8)

    def fill(start: int) -> None:
        for row in range(start, min(start + BLOCK, len(ids))):
            try:
                thumb_NHW[row] = shrink(decode(contents[row], DECODED, 1, background)[0])
            except Exception as error:
                what = f"image {ids[row]} was sound when ingested and cannot be decoded now: {error}"
                raise Integrity("undecodable", what, f"rm -r {files.IMAGES}, then `dvc repro`") from error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, range(0, len(ids), BLOCK)))
    return thumb_NHW
