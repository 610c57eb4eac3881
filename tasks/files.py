"""Every artefact's name and format, one way to publish it and one way to read it (contracts C1, C2, C6).

An artefact is a directory. It becomes visible by one rename, with its commit record MANIFEST.json (size and sha256 of
each file, hashes of inputs and settings) already inside: without a valid record it did not happen. Tables are Parquet
with page checksums; nothing in an artefact depends on the time, the host or a temporary name.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import Integrity

SCHEMA_VERSION = 1
MANIFEST = "MANIFEST.json"
SUMMARY = "summary.json"
WORK = Path(".work")
NET = ("weights.safetensors", "card.json")  # the files that make a net what it is
Entries = dict[str, dict[str, Any]]  # size and sha256 of each file, by its name in the artefact

IMAGES = Path("data/images")  # <source>/part-NNNNN.parquet: image_id, bytes (encoded as they came)
SPLIT = Path("data/split")  # classes.json, and tables: labeled, calib, gate, pool, duplicates, conflicts
LABELED = Path("data/labeled")  # classes.json, labeled.parquet, calib.parquet, and part-NNNNN.parquet of these images
GATE = Path("data/gate")  # classes.json, gate.parquet and part-NNNNN.parquet with just these images
SEALED = Path("data/sealed")  # test.parquet, truth.parquet: read by evaluate and robustness alone
RELEASES = Path("data/decisions/release.csv")  # refused files that people take in (tasks/images/release.py)
CONFLICTS = Path("data/decisions/conflicts.csv")  # classes of images that carry two (tasks/resolutions.py)
SEEDS = Path("data/decisions/seeds.csv")  # what `understudy seeds` measured (tasks/studies.py)
AUDIT = Path("data/decisions/audit.csv")  # what people said in blind audits (tasks/audits.py)
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
    """quarantine.parquet, past.parquet, run.json: what is and was refused of a source, why, and since which run."""
    return Path("data/quarantine") / source


def model(key: str) -> Path:
    """weights.safetensors and card.json of `r0`, `baseline` or a student `rK`; held.parquet and calibration.json."""
    return Path("data/models") / key


def champion(round_: str) -> Path:
    """The files of the net that is to label after a round (`r0`: after none), and decision.json: why it is this one."""
    return Path("data/champions") / round_


def curves(key: str) -> Path:
    """train.csv: the training curve of a net, for `dvc plots`."""
    return Path("data/curves") / key


def probs(round_: str) -> Path:
    """part-NNNNN.parquet: image_id, prob (float32, one per class) for each pool image."""
    return Path("data/probs") / round_


def labels(round_: str) -> Path:
    """labels.parquet: the label table, one row and one reason for every pool image; thresholds.json: of each class."""
    return Path("data/labels") / round_


def drift(round_: str) -> Path:
    """drift.json, history.json, pool.parquet, sample.parquet, cleared.json: a round's labels beside earlier runs."""
    return Path("data/drift") / round_


def scores(round_: str) -> Path:
    """scores.json, confusion.csv, reliability.csv: what `evaluate` measured in a round."""
    return Path("data/scores") / round_


def robustness(round_: str) -> Path:
    """robustness.json (null = not measured), results.parquet, severity.csv, attacks.csv: nets on worse images."""
    return Path("data/robustness") / round_


def decisions(round_: str) -> Path:
    """The human decisions on a round's labels: append-only CSV, versioned by git."""
    return Path("data/decisions") / f"{round_}.csv"


def metrics(stage: str) -> Path:
    """The summary of a stage once more, for `dvc metrics`."""
    return Path("data/metrics") / f"{stage.replace('@', '-')}.json"


def write_table(table: pa.Table, path: Path) -> None:
    """Parquet with page checksums; same table, same bytes."""
    pq.write_table(table, path, compression="zstd", write_page_checksum=True, store_schema=True)


def write_images(table: pa.Table, path: Path) -> None:
    """The same for image_id and bytes: encoded images are compressed already, and none is there twice."""
    how: dict[str, Any] = {"image_id": "zstd", "bytes": "none"}
    pq.write_table(table, path, compression=how, use_dictionary=False, write_page_checksum=True, store_schema=True)


def table_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """The same, for a table written group of rows by group of rows: `with` it and call `write_table`."""
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True, store_schema=True)


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a table whose directory was verified; page checksums catch what changed since."""
    try:
        return pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise _damaged(path, error) from None


def rows(path: Path) -> int:
    """How many rows a table has."""
    return int(pq.read_metadata(path).num_rows)


def iter_tables(directory: Path) -> Iterator[pa.Table]:
    """The tables part-*.parquet of a directory, in order."""
    for path in parts(directory):
        yield read_table(path)


def iter_batches(paths: list[Path], rows: int, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The rows of some tables in order, at most `rows` at a time; only a page of each column is in memory."""
    for path in paths:
        try:
            with pq.ParquetFile(path, buffer_size=1 << 20, page_checksum_verification=True) as file:
                for batch in file.iter_batches(rows, columns=columns):
                    yield pa.Table.from_batches([batch])
        except (OSError, pa.ArrowInvalid) as error:
            raise _damaged(path, error) from None


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


def net_hash(directory: Path) -> str:
    """Which net it is, whatever else lies beside its files: a hash of weights and card."""
    return digest([sha256_file(directory / name) for name in NET])


def seal(staged: Path, record: dict[str, Any], kept: Entries | None = None) -> None:
    """Flush every file of a staged directory to disk and write its commit record, last.

    `kept` are the entries of files taken over by `keep`: they are on disk and hashed already.
    """
    entries: Entries = {}
    for path in sorted(p for p in staged.rglob("*") if p.is_file()):
        name = path.relative_to(staged).as_posix()
        if kept and name in kept:
            entries[name] = kept[name]
            continue
        _fsync(path)
        entries[name] = {"size": path.stat().st_size, "sha256": sha256_file(path)}
    write_json({"schema": SCHEMA_VERSION, **record, "files": entries}, staged / MANIFEST)
    _fsync(staged / MANIFEST)
    _fsync(staged)


def keep(directory: Path, names: Iterable[str], staged: Path) -> Entries:
    """Take files of a published artefact over into its staged successor, and return their entries of the record.

    A link where the file system has them, so that nothing is copied or read: published files are never written in
    place. Integrity when a file has not the recorded size; its content is verified by whoever reads it next.
    """
    entries: Entries = read_json(directory / MANIFEST)["files"]
    taken = {name: entries[name] for name in names}
    for name, entry in taken.items():
        _refuse_other_size(directory, name, entry)
        try:
            (staged / name).hardlink_to(directory / name)
        except OSError:  # a file system without links
            shutil.copyfile(directory / name, staged / name)
            _fsync(staged / name)
    return taken


def recover(staged: Path, target: Path) -> None:
    """Bring back what a kill inside `move_into_place` left beside its place."""
    old = staged.with_name(staged.name + ".old")
    if old.exists() and not target.exists():
        old.rename(target)


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
        _refuse_other_size(directory, name, entry)
        if sha256_file(directory / name) != entry["sha256"]:
            raise Integrity(
                "changed_artefact",
                f"{directory / name} was altered after {stage} wrote it (sha256 differs)",
                _again(directory),
            )
    return record


def replace_json(path: Path, value: Any) -> None:
    """Publish one small JSON file."""
    replace_file(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def _refuse_other_size(directory: Path, name: str, entry: dict[str, Any]) -> None:
    path = directory / name
    size = path.stat().st_size if path.is_file() else 0
    if size != entry["size"]:
        what = f"{path} has {size} bytes, recorded: {entry['size']}"
        raise Integrity("changed_artefact", what, _again(directory))


def _damaged(path: Path, error: Exception) -> Integrity:
    """A table that cannot be read."""
    return Integrity("damaged_table", f"{path}: {error}", f"run `dvc repro` again after deleting {path.parent}")


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
