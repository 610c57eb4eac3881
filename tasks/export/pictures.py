"""The images of an export, shard by shard: each exported image once, with its label, in the order of the shards."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks import files
from tasks.errors import Integrity
from tasks.progress import Progress

AT_ONCE = 256  # images in memory


@dataclass(frozen=True, slots=True)
class Exported:
    """One image with its label. `path` is where it lay in its source."""

    image_id: str
    label: str
    confidence: float | None
    source: str
    path: str
    content: bytes


def verified(folder: Path) -> dict[str, str]:
    """Check the images of every source against their commit records; their identities."""
    found = sorted(record.parent for record in folder.rglob(files.MANIFEST)) or [folder]
    for artefact in found:
        files.verify(artefact)
    return {artefact.as_posix(): files.manifest_hash(artefact) for artefact in found}


def stream(rows: pa.Table, folder: Path) -> Iterator[Exported]:
    """The images of `rows` (rows.index); Integrity when one is in no shard. Shows progress."""
    missing_N = np.ones(rows.num_rows, bool)
    ids = rows["image_id"].combine_chunks()
    with Progress(rows.num_rows, "export", "images") as progress:
        for path in files.parts(folder):
            for at_K, contents in _wanted(path, ids):
                is_new_K = missing_N[at_K]  # two sources may hold the same image
                missing_N[at_K] = False
                chosen = rows.take(pa.array(at_K)).to_pylist()
                for row, content, is_new in zip(chosen, contents, is_new_K, strict=True):
                    if is_new:
                        yield Exported(content=content, **{**row, "path": row["path"] or ""})
                progress.advance(int(is_new_K.sum()))
    if missing_N.any():
        first = rows["image_id"][int(missing_N.argmax())].as_py()
        what = f"{int(missing_N.sum())} images of the label table are not in {folder}; the first is {first}"
        raise Integrity("lost_images", what, "`dvc repro`, then export again")


def _wanted(path: Path, ids: Any) -> Iterator[tuple[np.ndarray, list[Any]]]:
    """What a shard has of `ids`, a few hundred at a time: the places in `ids`, and the encoded images."""
    try:
        shard = pq.ParquetFile(path, page_checksum_verification=True)
        at_all = pc.index_in(shard.read(["image_id"])["image_id"].combine_chunks(), ids)  # once: it hashes all of `ids`
        if at_all.null_count == len(at_all):
            return
        start = 0
        for batch in shard.iter_batches(AT_ONCE, columns=["bytes"]):
            at = at_all.slice(start, batch.num_rows)
            start += batch.num_rows
            yield at.drop_null().to_numpy(), batch["bytes"].filter(at.is_valid()).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise Integrity("damaged_table", f"{path}: {error}", f"rm -r {path.parent}, then `dvc repro`") from None
