"""Manifest tables, Parquet, CSV or JSON Lines: which rows stand in them. What they mean is tasks/images/manifest.py."""

import codecs
import csv
import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import UserError
from tasks.images.footer import refuse_hostile

ROWS_AT_ONCE = 256  # with their images
DELIMITERS = ",;\t|"
QUOTES = "close each quote that opens a field, and write it twice inside"
LINE_BYTES = 2**20  # of JSON Lines


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it stands there; `number` counts from 1. `image` is None in a pass that only looks at the rest."""

    number: int
    image: bytes | None
    path: str | None
    label: int | str | None
    line: int | None = None  # of a text file, where the row ends; from 1


class ParquetTable:
    """Hugging Face's convention (`image`: struct<bytes, path> or binary, `label`: number with names in the schema's
    metadata, or text), or plain `path` and `label`."""

    def __init__(self, path: Path) -> None:
        """UserError when the file is incomplete or its columns are of another kind."""
        self.path = path
        refuse_hostile(path)
        try:
            # pre_buffer would keep every row group that was read: the whole manifest, images and all
            self._file = pq.ParquetFile(path, pre_buffer=False)
        except (OSError, pa.ArrowException) as error:
            what = f"{path} is no complete Parquet file ({path.stat().st_size} bytes): {error}"
            raise UserError("bad_manifest", what, "copy or write the file again") from None
        self._types = {field.name: field.type for field in self._file.schema_arrow}
        self.columns = list(self._types)
        refuse_twins(path, [field.name for field in self._file.schema_arrow])
        if "image" not in self._types and "path" not in self._types:
            raise missing_column(path, "path", self.columns)
        self.has_images = "image" in self._types
        self._refuse_types()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self._file.metadata.num_rows)

    @cached_property
    def names(self) -> list[str] | None:
        """Class names by index, where the schema's `huggingface` metadata has them."""
        metadata = self._file.schema_arrow.metadata or {}
        try:
            return [str(n) for n in json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]]
        except (KeyError, ValueError, TypeError):
            return None

    def read(self, with_images: bool) -> Iterator[Row]:
        """All rows, a few hundred in memory at a time."""
        number = 0
        size = ROWS_AT_ONCE if with_images else 65536
        for batch in self._file.iter_batches(size, columns=self._columns(with_images)):
            columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
            for index in range(batch.num_rows):
                number += 1
                label = columns["label"][index] if "label" in columns else None
                image = columns["image"][index] if "image" in columns else None
                if isinstance(image, dict):
                    yield Row(number, image.get("bytes"), image.get("path"), label)
                else:
                    yield Row(number, image, columns["path"][index] if "path" in columns else None, label)

    def _columns(self, with_images: bool) -> list[str]:
        pictures = "image" if with_images else "image.path"
        names = [pictures if self.has_images else "path", "label"]
        return [name for name in names if name.split(".")[0] in self._types]

    def _refuse_types(self) -> None:
        wanted = {"label": "a class name or the index of a class", "image": "struct<bytes, path>", "path": "text"}
        for name, kind in self._types.items():
            if name in wanted and not _ALLOWED[name](kind):
                what = f"{self.path}: the column {name!r} is {kind}; expected {wanted[name]}"
                raise UserError("bad_manifest", what, "write the column again, or use another table")


class CsvTable:
    """A header with `path` and, if there are labels, `label`; comma, semicolon, tab or bar between the fields."""

    names = None
    has_images = False

    def __init__(self, path: Path) -> None:
        """UserError when there is no column `path`."""
        self.path = path
        with path.open("rb") as stream:
            if stream.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:  # a spreadsheet's "Unicode text"
                raise UserError("bad_manifest", f"{path} is text in UTF-16", "save it as CSV in UTF-8")
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as text:
            head = text.readline(65536)
            self._delimiter = max(DELIMITERS, key=head.count)
            try:
                header = next(csv.reader(chain([head], text), delimiter=self._delimiter, strict=True), [])
            except csv.Error as error:
                raise UserError("bad_manifest", f"{path}: the header cannot be read: {error}", QUOTES) from None
        self.columns = [name.strip() for name in header]
        if "path" not in self.columns:
            raise missing_column(path, "path", self.columns)
        refuse_twins(path, self.columns)

    @cached_property
    def rows(self) -> int:
        """Number of rows."""
        return sum(1 for _ in self.read(with_images=False))

    def read(self, with_images: bool) -> Iterator[Row]:
        """All rows; blank lines are none. A row with too many or too few fields is a UserError."""
        number = 0
        with self.path.open(encoding="utf-8-sig", newline="") as stream:
            # strict: a quote that nobody closes would swallow all rows behind it
            reader = csv.reader(stream, delimiter=self._delimiter, strict=True)
            try:
                next(reader, None)
                for fields in reader:
                    if fields:
                        number += 1
                        yield self._row(number, fields, reader.line_num)
            except UnicodeDecodeError as error:
                what = f"{self.path}: row {number + 1} cannot be read: {error}"
                raise UserError("bad_manifest", what, "save it as CSV in UTF-8") from None
            except csv.Error as error:
                what = f"{self.path}: row {number + 1} (up to line {reader.line_num}) cannot be read: {error}"
                raise UserError("bad_manifest", what, QUOTES) from None

    def _row(self, number: int, fields: list[str], line: int) -> Row:
        if len(fields) != len(self.columns):
            what = f"{self.path}: row {number} (line {line}) has {len(fields)} fields, the header {len(self.columns)}"
            raise UserError("bad_manifest", what, "mend the line; put quotes around a field that holds the delimiter")
        value = dict(zip(self.columns, fields, strict=True))
        return Row(number, None, value["path"], value.get("label") or None, line)


class JsonlTable:
    """An object a line with `path` and, if there are labels, `label` (text or a number); other keys are not read."""

    names = None
    has_images = False
    columns: ClassVar[list[str]] = ["path", "label"]

    def __init__(self, path: Path) -> None:
        """Nothing is read yet: a mistake is named with its line by `read`."""
        self.path = path

    @cached_property
    def rows(self) -> int:
        """Number of rows."""
        return sum(1 for _ in self.read(with_images=False))

    def read(self, with_images: bool) -> Iterator[Row]:
        """All rows; blank lines are none. A line that is no such object is a UserError."""
        number = line = 0
        with self.path.open("rb") as stream:
            while text := stream.readline(LINE_BYTES):
                line += 1
                if text.strip():
                    number += 1
                    yield self._row(number, line, text.removeprefix(b"\xef\xbb\xbf") if line == 1 else text)

    def _row(self, number: int, line: int, text: bytes) -> Row:
        try:
            value = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
            why = f"longer than {LINE_BYTES} bytes" if len(text) == LINE_BYTES else why
            raise self._bad(line, f"is no JSON in UTF-8: {why}") from None
        if not isinstance(value, dict):
            raise self._bad(line, f"holds a {type(value).__name__}, expected an object with path and label")
        if not isinstance(value.get("path"), str):
            near = difflib.get_close_matches("path", list(value), n=1)
            hint = f"; did you mean {near[0]!r}?" if near and near[0] != "path" else ""
            raise self._bad(line, f"has no text under 'path'{hint}; present: {', '.join(map(repr, value)) or 'none'}")
        label = value.get("label")
        if isinstance(label, bool) or not isinstance(label, int | str | None):
            raise self._bad(line, f"has the label {label!r}; expected text, a whole number or null")
        return Row(number, None, value["path"], label, line)

    def _bad(self, line: int, why: str) -> UserError:
        fix = 'write one object a line, as in {"path": "a/1.png", "label": "cat"}'
        return UserError("bad_manifest", f"{self.path}: line {line} {why}", fix)


Table = ParquetTable | CsvTable | JsonlTable
KINDS: dict[str, type[ParquetTable] | type[CsvTable] | type[JsonlTable]] = {
    ".parquet": ParquetTable,
    ".csv": CsvTable,
    ".tsv": CsvTable,
    ".jsonl": JsonlTable,
    ".ndjson": JsonlTable,
}


def refuse_twins(path: Path, columns: list[str]) -> None:
    """UserError when a column that is read stands there twice: which one is meant cannot be told."""
    if twins := [name for name in ("path", "label", "image") if columns.count(name) > 1]:
        raise UserError("bad_manifest", f"{path} has the column {twins[0]!r} twice", "remove or rename one of them")


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_label(kind: Any) -> bool:
    return _is_text(kind) or bool(pa.types.is_integer(kind) or pa.types.is_null(kind))


def _is_image(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return {"bytes", "path"} <= {kind.field(index).name for index in range(kind.num_fields)}
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


_ALLOWED = {"label": _is_label, "image": _is_image, "path": _is_text}


def missing_column(path: Path, column: str, present: list[str]) -> UserError:
    """The error for a table without a column it needs."""
    near = difflib.get_close_matches(column, present, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    what = f"{path} has no column {column!r}{hint}; present: {', '.join(map(repr, present)) or 'none'}"
    fix = "name the columns `label` and `path`, or `image` (struct<bytes, path>)"
    unlabeled = "; a table in which nothing is labeled is named pool"
    return UserError("missing_column", what, fix + unlabeled if column == "label" else fix)
