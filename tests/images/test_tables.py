"""Manifest tables beyond the plain ones: JSON Lines, hostile Parquet, files named twice, tables in folders."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import UserError
from tasks.images import footer, manifest
from tasks.images.record import Refusal
from tasks.images.twins import Named, Twins
from tests.images.workspace import Workspace, picture, write_all


def _error(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        list(manifest.read(path).records)
    return str(caught.value)


def test_json_lines(tmp_path: Path) -> None:
    """Text and number labels, null and none, other keys, a byte order mark, blank lines and CRLF."""
    text = (
        '\ufeff{"path": "a.png", "label": "x"}\r\n\n{"path": "b/é.png", "label": null, "more": [1]}\n{"path": "c.png"}'
    )
    (tmp_path / "m.jsonl").write_text(text, encoding="utf-8", newline="")
    source = manifest.read(tmp_path / "m.jsonl")
    assert (source.classes, source.total) == (["x"], 3)
    assert [(r.path, r.origin, r.label) for r in source.records] == [
        ("a.png", "labeled", "x"),
        ("b/é.png", "pool", None),
        ("c.png", "pool", None),
    ]
    (tmp_path / "n.ndjson").write_text('{"path": "a.png", "label": 10}\n{"path": "b.png", "label": 9}\n')
    assert manifest.read(tmp_path / "n.ndjson").classes == ["9", "10"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'path': 1}", "line 2 is no JSON in UTF-8"),
        ("[" * 100_000, "line 2 is no JSON in UTF-8: it is nested too deep"),
        ('["a.png"]', "line 2 holds a list, expected an object"),
        ('{"file": "a.png"}', "line 2 has no text under 'path'; present: 'file'"),
        ('{"paht": "a.png"}', "did you mean 'paht'?"),
        ('{"path": "b.png", "label": 0.5}', "line 2 has the label 0.5"),
        ('{"path": "b.png", "label": true}', "line 2 has the label True"),
        ('{"path": "\\ud800.png"}', "row 2: path '\\ud800.png' is no valid Unicode (line 2)"),
        ('{"path": "b.png", "label": "\\udfff"}', "label '\\udfff' is no valid Unicode (line 2)"),
        ('{"path": "../b.png"}', "row 2: path '../b.png' leaves the folder (line 2)"),
        ('{"path": "' + "x" * 2**20 + '"}', "longer than 1048576 bytes"),
    ],
)
def test_json_lines_that_cannot_be_right(tmp_path: Path, line: str, message: str) -> None:
    """Each is named with its line and what was expected; no half read table."""
    (tmp_path / "m.jsonl").write_text('{"path": "a.png", "label": "x"}\n' + line + "\n")
    assert message in _error(tmp_path / "m.jsonl")


def test_rows_that_name_a_file_twice(tmp_path: Path) -> None:
    """The same words twice count once; other words about a file are a mistake, the first twenty with their lines."""
    (tmp_path / "m.csv").write_text("path,label\na.png,x\nb.png,y\n./a.png,x\n")
    records = list(manifest.read(tmp_path / "m.csv").records)
    assert [r.content.reason if isinstance(r.content, Refusal) else None for r in records] == [None, None, "ignored"]
    rows = "".join(f"{n}.png,x\n" for n in range(30)) + "".join(f"{n}.png,y\n" for n in range(30))
    (tmp_path / "m.csv").write_text(f"path,label\n{rows}")
    error = _error(tmp_path / "m.csv")
    assert "m.csv, row 31: path '0.png' stands in m.csv, row 1 (line 2) already, as 'x' in labeled (line 32)" in error
    assert "row 50:" in error
    assert "row 51:" not in error
    assert "and more" in error


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xy")), max_size=12))
def test_twins_equal_the_slow_rule(rows: list[tuple[str, str]]) -> None:
    """A row repeats or contradicts exactly what the first row of its path says."""
    named = [Named("t", n, None, path, (label, "labeled")) for n, (path, label) in enumerate(rows)]
    twins = Twins(lambda: named)
    for n, (path, label) in enumerate(rows):
        first = next(k for k, row in enumerate(rows) if row[0] == path)
        assert twins.is_repetition(named[n]) == (first < n and rows[first][1] == label)
        assert bool(list(twins.contradictions(named[n]))) == (rows[first][1] != label)


def test_a_folder_with_one_table_and_its_images(tmp_path: Path) -> None:
    """Any name will do for a single table; the folder as path lets DVC see the images; a pool table alone is fine."""
    workspace = Workspace(tmp_path, source={"kind": "manifest"})
    write_all(workspace.source, {"a.png": picture(1), "b.png": picture(2)})
    (workspace.source / "images.jsonl").write_text('{"path": "a.png", "label": "x"}\n{"path": "b.png"}\n')
    assert workspace.run("ingest")[0] == 0
    assert workspace.summary("ingest")["origin"] == {"labeled": 1, "pool": 1}
    (workspace.source / "images.jsonl").rename(workspace.source / "pool.jsonl")
    assert workspace.run("ingest")[0] == 0
    assert workspace.summary("ingest")["origin"] == {"pool": 2}


def test_a_column_that_stands_there_twice(tmp_path: Path) -> None:
    """Which of two columns `label` is meant cannot be told."""
    (tmp_path / "m.csv").write_text("path,label,label\na.png,x,y\n")
    assert "has the column 'label' twice" in _error(tmp_path / "m.csv")


class _Uuid(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.binary(4), "attack.uuid")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> "_Uuid":
        raise AssertionError("Arrow was asked to rebuild a hostile type")


def _extension(path: Path) -> None:
    column = pa.ExtensionArray.from_storage(_Uuid(), pa.array([b"abcd"], pa.binary(4)))
    pa.register_extension_type(_Uuid())  # type: ignore[arg-type]
    try:
        pq.write_table(pa.table({"path": ["a.png"], "label": ["x"], "id": column}), path)
    finally:
        pa.unregister_extension_type("attack.uuid")


def _wide(path: Path) -> None:
    pq.write_table(pa.table({"path": ["a.png"], "label": ["x"], **{f"c{n}": [n] for n in range(3000)}}), path)


def _deep(path: Path) -> None:
    value = pa.array([1])
    for _ in range(60):
        value = pa.StructArray.from_arrays([value], ["s"])
    pq.write_table(pa.table({"path": ["a.png"], "label": ["x"], "deep": value}), path)


def _huge_footer(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(footer.FOOTER_BYTES + 100)
        stream.seek(0, 2)
        stream.write((footer.FOOTER_BYTES + 1).to_bytes(4, "little") + b"PAR1")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_extension, "it has columns of an Arrow extension type"),
        (_wide, "its schema has 3003 elements, more than 1000"),
        (_deep, "its columns are nested 61 deep"),
        (_huge_footer, "its footer has 67108865 bytes"),
    ],
)
def test_hostile_parquet_is_refused_before_arrow(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    """The footer alone is looked at: no Arrow type is built from such a file."""
    write(tmp_path / "m.parquet")
    with pytest.raises(UserError) as caught:
        footer.refuse_hostile(tmp_path / "m.parquet")
    assert message in str(caught.value)
    assert message in _error(tmp_path / "m.parquet")


def test_no_cut_or_altered_footer_does_harm(tmp_path: Path) -> None:
    """Cut anywhere, or any byte of the footer changed: refused as a user's error, or still a table, never a crash."""
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"path": ["a.png", "b.png"], "label": ["x", "y"]}), path)
    whole = path.read_bytes()
    footer.refuse_hostile(path)
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match="no complete Parquet file"):
            footer.refuse_hostile(path)
    length = int.from_bytes(whole[-8:-4], "little")
    refused = 0
    for at in range(len(whole) - 8 - length, len(whole) - 8):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        try:
            footer.refuse_hostile(path)
        except UserError:
            refused += 1
    assert refused > 20


def test_what_hugging_face_and_pandas_write_passes(tmp_path: Path) -> None:
    """Nested images, dictionaries, metadata and many row groups are no attack."""
    image = pa.array([{"bytes": b"x", "path": None}] * 50, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    label = pa.array(["x", "y"] * 25).dictionary_encode()
    table = pa.table({"image": image, "label": label}).replace_schema_metadata({"huggingface": json.dumps({"a": 1})})
    pq.write_table(table, tmp_path / "m.parquet", row_group_size=1)
    assert pq.ParquetFile(tmp_path / "m.parquet").metadata.num_row_groups == 50
    assert manifest.read(tmp_path / "m.parquet").total == 50
