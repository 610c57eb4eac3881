"""A Parquet file's schema, read from its footer before Arrow sees the file.

Arrow rebuilds columns from the footer, extension types and nesting of any depth included: a file made to hurt must be
refused first. This reads Thrift's compact protocol, no more of it than the schema and the key-value metadata need.
"""

import base64
import binascii
import os
from pathlib import Path
from typing import Any

from tasks.errors import UserError

FOOTER_BYTES = 64 * 2**20
COLUMNS, DEPTH = 1000, 8  # a manifest needs two columns, and Hugging Face's image is two levels deep
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
SCHEMA, METADATA = 2, 5  # fields of FileMetaData
CHILDREN, KEY, VALUE = 5, 1, 2  # num_children of SchemaElement; fields of KeyValue


def refuse_hostile(path: Path) -> None:
    """UserError for a file without a whole footer, or with too many, too deep or extension-typed columns."""
    footer = _footer(path)
    try:
        fields = _Compact(footer).struct(wanted={SCHEMA, METADATA})
        children = [element.get(CHILDREN, 0) for element in fields[SCHEMA]]
        metadata = {pair[KEY]: pair.get(VALUE, b"") for pair in fields.get(METADATA, [])}
        arrow = base64.b64decode(metadata.get(b"ARROW:schema", b""))
        depth = _depth(children)
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise _refused(path, "its footer is damaged", "copy or write the file again") from None
    if len(children) > COLUMNS:
        what = f"its schema has {len(children)} elements, more than {COLUMNS}"
        raise _refused(path, what, "write only the columns that are needed: image or path, and label")
    if depth > DEPTH:
        raise _refused(path, f"its columns are nested {depth} deep", "write plain columns: image or path, and label")
    if b"ARROW:extension:name" in arrow:
        raise _refused(path, "it has columns of an Arrow extension type", "write the columns with plain types")


def _footer(path: Path) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(size - 8, 0))
        end = stream.read(8)
        length = int.from_bytes(end[:4], "little")
        if size < 12 or end[4:] != b"PAR1" or length > size - 12:
            what = f"{path} is no complete Parquet file ({size} bytes): it does not end with a footer"
            raise UserError("bad_manifest", what, "copy or write the file again")
        if length > FOOTER_BYTES:
            what = f"its footer has {length} bytes, allowed {FOOTER_BYTES}: too many columns or row groups"
            raise _refused(path, what, "write fewer columns and larger row groups")
        stream.seek(-8 - length, os.SEEK_END)
        return stream.read(length)


def _refused(path: Path, what: str, fix: str) -> UserError:
    return UserError("bad_manifest", f"{path} is not read: {what}", fix)


def _depth(children: list[int]) -> int:
    """Levels below the root of a schema that lists its elements in depth-first order with their numbers of children."""
    open_, deepest = list[int](), 0
    for count in children:
        while open_ and open_[-1] == 0:
            open_.pop()
        if open_:
            open_[-1] -= 1
        open_.append(count)
        deepest = max(deepest, len(open_) - 1)
    return deepest


class _Compact:
    """Values of Thrift's compact protocol, one after another. Errors of damaged bytes are Python's own."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self, wanted: set[int] | None = None) -> dict[int, Any]:
        """The fields of a struct by number; those not wanted are passed over."""
        fields, number = dict[int, Any](), 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            value = self._value(head & 15, in_list=False, keep=wanted is None or number in wanted)
            if wanted is None or number in wanted:
                fields[number] = value
        return fields

    def _value(self, kind: int, in_list: bool, keep: bool) -> Any:
        if kind in {TRUE, FALSE}:
            return (self._byte() if in_list else kind) == TRUE
        if kind == BYTE:
            return self._byte()
        if kind in {I16, I32, I64}:
            return self._zigzag()
        if kind in {DOUBLE, BINARY}:
            length = 8 if kind == DOUBLE else self._varint()
            self._at += length
            if self._at > len(self._data):
                raise IndexError("past the end")
            return self._data[self._at - length : self._at] if keep else None
        if kind in {LIST, SET}:
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._varint()
            return self._list(count, head & 15, keep)
        if kind == STRUCT:
            return self.struct(None if keep else set())
        raise ValueError(f"type {kind}")

    def _list(self, count: int, kind: int, keep: bool) -> list[Any]:
        if count > len(self._data):
            raise ValueError("more elements than bytes")
        found = []
        for _ in range(count):
            value = self._value(kind, in_list=True, keep=keep)
            if keep:
                found.append(value)
        return found

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if not byte & 128:
                return value
            if shift > 63:
                raise ValueError("number too long")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
