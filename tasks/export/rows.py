"""Which labels an export holds: the label table of a round, joined with where each image lay. Larger than memory."""

from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal, cast, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from tasks import files
from tasks.errors import UserError
from tasks.params import Settings

Who = Literal["everyone", "people", "teacher"]
MEMORY = "1GB"  # DuckDB's; what needs more is sorted on disk
WHOSE = {"everyone": "true", "people": "source = 'human'", "teacher": "source LIKE 'teacher:%'"}

# An image may lie in the pool and among the labeled ones: there the table says `duplicate`, and the given label wins.
JOINED = """
    WITH everything AS (
        SELECT * FROM chosen UNION ALL BY NAME
        SELECT image_id, label, 1::FLOAT AS confidence, 1::INTEGER AS copies,
            'r0' AS round, 'given' AS source, 'labeled' AS reason FROM given
    ), once AS (
        SELECT * FROM everything QUALIFY row_number() OVER (PARTITION BY image_id ORDER BY source = 'given' DESC) = 1
    ), lay AS (
        SELECT image_id, min({'place': place, 'path': path, 'image_source': image_source}) AS here
        FROM paths GROUP BY image_id
    )
    SELECT once.image_id, label, confidence, copies, round, source, reason, soft,
        here.path AS path, here.image_source AS image_source
    FROM once LEFT JOIN lay USING (image_id) ORDER BY image_id
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to export: `kept` rows are learnt from, `given` adds the labeled images the loop started with."""

    round: str
    kept: bool = True
    who: Who = "everyone"
    given: bool = False


def whose(who: str) -> Who:
    """Check a value of --who."""
    if who not in get_args(Who):
        what = f"--who {who!r} is not known"
        raise UserError("unknown_who", what, f"use one of {', '.join(get_args(Who))}")
    return cast(Who, who)


def published(directory: Path, stage: str) -> str:
    """Verify an artefact and return its identity; UserError names the stage that makes it when it is absent."""
    if not directory.is_dir():
        raise UserError("missing_input", f"{directory} does not exist", f"`dvc repro {stage}`, then export again")
    files.verify(directory)
    return files.manifest_hash(directory)


def gather(choice: Choice, settings: Settings, target: Path) -> dict[str, Any]:
    """Write the rows, sorted by image_id, as Parquet to `target`; return counts and hashes for the provenance.

    Columns: those of the label table, then path (the first one in its source) and image_source.
    """
    if choice.round not in settings.rounds:
        raise UserError(
            "unknown_round",
            f"{choice.round!r} is no round of params.yaml",
            f"use one of {', '.join(settings.rounds)}",
        )
    inputs = {files.labels(choice.round).as_posix(): published(files.labels(choice.round), f"curate@{choice.round}")}
    inputs[files.SPLIT.as_posix()] = published(files.SPLIT, "split")
    for source in settings.sources:
        inputs[files.catalog(source).as_posix()] = published(files.catalog(source), f"ingest@{source}")
    _query(choice, list(settings.sources), target)
    rows = pq.read_metadata(target).num_rows
    if not rows:
        what = f"no label of {choice.round} is left to export ({_in_words(choice)})"
        raise UserError("nothing_to_export", what, "leave out --who, or add --all or --with-labeled")
    return {"rows": rows, "inputs": inputs, "selection": _in_words(choice)}


def _query(choice: Choice, sources: list[str], target: Path) -> None:
    import duckdb

    with duckdb.connect() as base:
        base.execute("SET memory_limit = $1", [MEMORY])
        base.execute("SET temp_directory = $1", [str(target.parent / "sorting")])
        labels = base.read_parquet(str(files.labels(choice.round) / "*.parquet")).filter(WHOSE[choice.who])
        (labels.filter("copies > 0") if choice.kept else labels).create_view("chosen")
        given = base.read_parquet(str(files.SPLIT / "labeled.parquet"))
        (given if choice.given else given.filter("false")).create_view("given")
        catalogs = [
            base.read_parquet(str(files.catalog(name) / "images.parquet")).project(
                f"image_id, path, {place} AS place, {_text(name)} AS image_source"
            )
            for place, name in enumerate(sources)
        ]
        reduce(lambda one, more: one.union(more), catalogs).create_view("paths")
        base.sql(JOINED).write_parquet(str(target), compression="zstd", row_group_size=20_480)


def read(path: Path, size: int = 20_000) -> Any:
    """The rows, `size` at a time, as record batches."""
    yield from pq.ParquetFile(path).iter_batches(size)


def index(path: Path) -> pa.Table:
    """image_id, label, confidence and path of the rows that have a label: what a pass over the images looks up.

    About 150 bytes a row; the only thing an export of images holds in memory for each of them.
    """
    table = pq.read_table(path, columns=["image_id", "label", "confidence", "source", "path"])
    return table.filter(table["label"].is_valid()).combine_chunks()


def _in_words(choice: Choice) -> str:
    whose = {"everyone": "", "people": " by people", "teacher": " by the teacher"}[choice.who]
    which = "labels that are learnt from" if choice.kept else "every row of the label table"
    return f"{which}{whose}" + (" and the labeled images of the split" if choice.given else "")


def _text(value: object) -> str:
    """A text in SQL; a path cannot end it."""
    return "'" + str(value).replace("'", "''") + "'"
