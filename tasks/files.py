"""Every artefact's name and format, one way to publish it and one way to read it (contracts C1, C2, C6).

An artefact is a directory. It becomes visible by one rename, with its commit record MANIFEST.json (size and sha256 of
each file, hashes of inputs and settings) already inside: without a valid record it did not happen. Tables are Parquet
with page checksums; nothing in an artefact depends on the time, the host or a temporary name.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import Integrity

SCHEMA_VERSION = 1
MANIFEST = "MANIFEST.json"
SUMMARY = "summary.json"
WORK = Path(".work")

CONFLICTS = Path("data/decisions/conflicts.csv")  # how people settled images with two labels; versioned by git
IMAGES = Path("data/images")  # <source>/part-NNNNN.parquet: image_id, bytes (encoded as they came)
SPLIT = Path("data/split")  # classes.json, and tables: labeled, calib, gate, pool, duplicates, conflicts
SEALED = Path("data/sealed")  # test.parquet, truth.parquet: read by evaluate alone
REPORT = Path("data/report")  # report.html

LABEL_TABLE = pa.schema(
    [  # type: ignore[arg-type]  # the stubs do not know fields of different types in one list
        pa.field("image_id", pa.string()),
        pa.field("label", pa.string()),  # class name; null where there is none
        pa.field("confidence", pa.float32()),
        pa.field("soft", pa.list_(pa.float32())),  # the distribution to learn; null where hard or not learnt
        pa.field("copies", pa.int32()),  # how often the image stands in an epoch; 0 = not learnt from
        pa.field("round", pa.string()),
        pa.field("source", pa.string()),  # teacher:rK or human
        pa.field("reason", pa.string()),
    ]
)


def images(source: str) -> Path:
    """part-NNNNN.parquet: the encoded images of a source."""
    return IMAGES / source


def catalog(source: str) -> Path:
    """images.parquet, labels.parquet, classes.json: what a source holds."""
    return Path("data/catalog") / source


def fingerprints(source: str) -> Path:
    """part-NNNNN.parquet beside those of the images: image_id, phash, phash_mirrored, thumb (16 x 16 grey values)."""
    return Path("data/fingerprints") / source


def quarantine(source: str) -> Path:
    """quarantine.parquet: what was refused of a source, and why."""
    return Path("data/quarantine") / source


def model(key: str) -> Path:
    """weights.safetensors and card.json of `r0`, `baseline` or a student `rK`."""
    return Path("data/models") / key


def curves(key: str) -> Path:
    """train.csv: the training curve of a net, for `dvc plots`."""
    return Path("data/curves") / key


def probs(round_: str) -> Path:
    """part-NNNNN.parquet: image_id, prob (float32, one per class) for each pool image."""
    return Path("data/probs") / round_


def labels(round_: str) -> Path:
    """labels.parquet: the label table, one row and one reason for every pool image."""
    return Path("data/labels") / round_


def scores(round_: str) -> Path:
    """scores.json, confusion.csv, reliability.csv: what `evaluate` measured in a round."""
    return Path("data/scores") / round_


def decisions(round_: str) -> Path:
    """The human decisions on a round's labels: append-only CSV, versioned by git."""
    return Path("data/decisions") / f"{round_}.csv"


def metrics(stage: str) -> Path:
    """The summary of a stage once more, for `dvc metrics`."""
    return Path("data/metrics") / f"{stage.replace('@', '-')}.json"


def write_table(table: pa.Table, path: Path) -> None:
    """Parquet with page checksums; same table, same bytes."""
    pq.write_table(table, path, compression="zstd", write_page_checksum=True, store_schema=True)


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a table whose directory was verified; page checksums catch what changed since."""
    try:
        return pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise Integrity(
            "damaged_table", f"{path}: {error}", f"run `dvc repro` again after deleting {path.parent}"
        ) from None


def iter_tables(directory: Path) -> Iterator[pa.Table]:
    """The tables part-*.parquet of a directory, in order."""
    for path in parts(directory):
        yield read_table(path)


def parts(directory: Path) -> list[Path]:
    """part-*.parquet of an artefact, or of every artefact in a folder, in order."""
    return sorted(directory.rglob("part-*.parquet"))


def write_json(value: Any, path: Path) -> None:
    """JSON with sorted keys, for people and machines."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The counterpart of write_json."""
    return json.loads(path.read_text(encoding="utf-8"))


def digest(value: Any) -> str:
    """sha256 of a plain value in canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """sha256 of a file's content, as hexadecimal text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest_hash(directory: Path) -> str:
    """The identity of a published artefact: sha256 of its commit record, which names every file's hash."""
    path = directory / MANIFEST
    if not path.is_file():
        raise _uncommitted(directory)
    return sha256_file(path)


def seal(staged: Path, record: dict[str, Any]) -> None:
    """Flush every file of a staged directory to disk and write its commit record, last."""
    entries = {}
    for path in sorted(p for p in staged.rglob("*") if p.is_file()):
        _fsync(path)
        name = path.relative_to(staged).as_posix()
        entries[name] = {"size": path.stat().st_size, "sha256": sha256_file(path)}
    write_json({"schema": SCHEMA_VERSION, **record, "files": entries}, staged / MANIFEST)
    _fsync(staged / MANIFEST)
    _fsync(staged)


def move_into_place(staged: Path, target: Path) -> None:
    """Make a sealed directory visible under its name: a reader sees the old one, none, or the new one, never a mix."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        old = staged.with_name(staged.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        staged.rename(target)
        shutil.rmtree(old)
    else:
        staged.rename(target)
    _fsync(target.parent)


def replace_file(path: Path, content: str) -> None:
    """Publish one small text file: temporary name, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(content, encoding="utf-8")
    _fsync(temporary)
    temporary.replace(path)
    _fsync(path.parent)


def verify(directory: Path) -> dict[str, Any]:
    """Check a published artefact against its commit record, byte for byte, and return the record.

    Raises Integrity naming the file and the stage to run again.
    """
    path = directory / MANIFEST
    try:
        record: dict[str, Any] = read_json(path)
        files = record["files"]
        stage = record["stage"]
    except FileNotFoundError:
        raise _uncommitted(directory) from None
    except (ValueError, KeyError, TypeError):
        raise Integrity("damaged_record", f"{path} is not a commit record", _again(directory)) from None
    present = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()} - {MANIFEST}
    if odd := sorted(present ^ set(files)):
        what = "is not in" if odd[0] in present else "is missing but stands in"
        raise Integrity(
            "changed_artefact", f"{directory / odd[0]} {what} the commit record of {stage}", _again(directory)
        )
    for name, entry in files.items():
        size = (directory / name).stat().st_size
        if size != entry["size"]:
            raise Integrity(
                "changed_artefact",
                f"{directory / name} has {size} bytes, recorded by {stage}: {entry['size']}",
                _again(directory),
            )
        if sha256_file(directory / name) != entry["sha256"]:
            raise Integrity(
                "changed_artefact",
                f"{directory / name} was altered after {stage} wrote it (sha256 differs)",
                _again(directory),
            )
    return record


def _uncommitted(directory: Path) -> Integrity:
    return Integrity(
        "not_published",
        f"{directory} has no commit record {MANIFEST}: it was never finished",
        _again(directory),
    )


def _again(directory: Path) -> str:
    return f"rm -r {directory}, then `dvc repro`: it is restored from the cache or computed again"


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
