"""Every artefact's name and format, one way to publish it and one way to read it (contracts C1, C2, C6).

An artefact is a directory, published with its commit record (tasks/commit.py, whose names are had from here too).
Tables are Parquet with page checksums; nothing in an artefact depends on the time, the host or a temporary name.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.commit import (
    MANIFEST,
    Entries,
    digest,
    keep,
    manifest_hash,
    move_into_place,
    read_json,
    recover,
    replace_file,
    replace_json,
    seal,
    settle,
    sha256_file,
    verify,
    write_json,
)
from tasks.errors import Integrity

__all__ = [  # of tasks/commit.py
    "MANIFEST",
    "Entries",
    "digest",
    "keep",
    "manifest_hash",
    "move_into_place",
    "read_json",
    "recover",
    "replace_file",
    "replace_json",
    "seal",
    "settle",
    "sha256_file",
    "verify",
    "write_json",
]

SUMMARY = "summary.json"
READING = "reading.json"
WORK = Path(".work")
NET = ("weights.safetensors", "card.json")  # the files that make a net what it is

IMAGES = Path("data/images")  # <source>/part-NNNNN.parquet: image_id, bytes (encoded as they came)
SPLIT = Path("data/split")  # classes.json, and tables: labeled, calib, gate, pool, duplicates, conflicts
LABELED = Path("data/labeled")  # classes.json, labeled.parquet, calib.parquet, and part-NNNNN.parquet of these images
GATE = Path("data/gate")  # classes.json, gate.parquet and part-NNNNN.parquet with just these images
SEALED = Path("data/sealed")  # test.parquet, truth.parquet: read by evaluate and robustness alone
TEST_IDS = Path("data/test_ids")  # test.parquet: image_id of what is sealed, without its label (tasks/leaks.py)
RELEASES = Path("data/decisions/release.csv")  # refused files that people take in (tasks/images/release.py)
STARTS = Path("data/start")  # weights that nets start from, put there by people (tasks/starts.py)
CHAMPION = Path("data/champion")  # like data/champions/rK: the net to use
CHAMPION_WORDS = Path("data/decisions/champion.csv")  # what people said about champions (tasks/verdicts.py)
APPROVALS = Path("data/decisions/approval.csv")  # what people said about students that waited (tasks/approvals.py)
CONFLICTS = Path("data/decisions/conflicts.csv")  # classes of images that carry two (tasks/resolutions.py)
SEEDS = Path("data/decisions/seeds.csv")  # what `understudy seeds` measured (tasks/studies.py)
AUDIT = Path("data/decisions/audit.csv")  # what people said in blind audits (tasks/audits.py)
DISTILLED = Path("data/distilled")
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


def distilled(name: str) -> Path:
    """weights.safetensors, card.json and model.onnx of a small net, and distilled.json: how it compares."""
    return DISTILLED / name


def curves(key: str) -> Path:
    """train.csv: the training curve of a net, for `dvc plots`."""
    return Path("data/curves") / key


def probs(round_: str) -> Path:
    """part-NNNNN.parquet: image_id, prob (float32, one per class) for each pool image."""
    return Path("data/probs") / round_


def labels(round_: str) -> Path:
    """labels.parquet: the label table, one row and one reason for every pool image; thresholds.json: of each class;
    reading.json: how the teacher's probabilities were read (core.belief.Reading)."""
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
            how: dict[str, Any] = {"buffer_size": 1 << 20, "pre_buffer": False, "page_checksum_verification": True}
            with pq.ParquetFile(path, **how) as file:  # the default, pre_buffer, reads whole row groups ahead
                for batch in file.iter_batches(rows, columns=columns):
                    yield pa.Table.from_batches([batch])
        except (OSError, pa.ArrowInvalid) as error:
            raise _damaged(path, error) from None


def parts(directory: Path) -> list[Path]:
    """part-*.parquet of an artefact, or of every artefact in a folder, in order."""
    return sorted(directory.rglob("part-*.parquet"))


def net_hash(directory: Path) -> str:
    """Which net it is, whatever else lies beside its files: a hash of weights and card."""
    return digest([sha256_file(directory / name) for name in NET])


def _damaged(path: Path, error: Exception) -> Integrity:
    """A table that cannot be read."""
    return Integrity("damaged_table", f"{path}: {error}", f"run `dvc repro` again after deleting {path.parent}")
