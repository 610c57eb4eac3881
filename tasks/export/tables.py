"""The label table as CSV and as Parquet, without images: every row that was asked for, labeled or not."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.export import rows
from tasks.progress import Progress

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet run a cell
IN_CSV = ("image_id", "label", "confidence", "copies", "round", "source", "reason", "path", "image_source")


def write_csv(table: Path, folder: Path, provenance: dict[str, Any]) -> None:
    """labels.csv in UTF-8: one line a row; `soft` is left out. An empty field is null.

    A text that a spreadsheet would run as a formula gets a `'` in front (RELIABILITY 2.2), as does one that begins with
    `'`, so that taking one `'` off gives the text back.
    """
    total = pq.read_metadata(table).num_rows
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(IN_CSV)
        with Progress(total, "export", "rows") as progress:
            for batch in rows.read(table):
                columns = [batch[name].to_pylist() for name in IN_CSV]
                writer.writerows([[_cell(value) for value in row] for row in zip(*columns, strict=True)])
                progress.advance(batch.num_rows)


def write_parquet(table: Path, folder: Path, provenance: dict[str, Any]) -> None:
    """labels.parquet with page checksums; the provenance stands in the schema's metadata under `understudy`."""
    source = pq.ParquetFile(table)
    schema = source.schema_arrow.with_metadata({b"understudy": json.dumps(provenance, sort_keys=True).encode()})
    path = folder / "labels.parquet"
    with (
        pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer,
        Progress(source.metadata.num_rows, "export", "rows") as progress,
    ):
        for batch in rows.read(table):
            writer.write_table(pa.Table.from_batches([batch]).cast(schema))
            progress.advance(batch.num_rows)


def _cell(value: object) -> object:
    """A value as CSV holds it."""
    if isinstance(value, float):
        return f"{value:.9g}"  # enough digits for float32 to come back exactly
    if isinstance(value, str) and value.startswith((*FORMULA, "'")):
        return f"'{value}"
    return value
