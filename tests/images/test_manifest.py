"""The manifest source: Hugging Face's Parquet, plain Parquet and CSV, and rows that cannot be right."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import UserError
from tasks.images import manifest
from tasks.images.record import Refusal
from tests.images.workspace import Workspace, picture, write_all, write_hf

NAMES = ["zebra", "ant", "bee"]


def _rows(path: Path) -> list[tuple[str, str | None, str | None]]:
    return [(record.path, record.origin, record.label) for record in manifest.read(path).records]


def _error(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        list(manifest.read(path).records)
    return str(caught.value)


def test_hugging_face_folder(tmp_path: Path) -> None:
    """train, pool and test tables, in shards too; the class order is the metadata's; -1 and null are no label."""
    write_hf(tmp_path / "train-00000-of-00002.parquet", [(b"a", "a.png", 0), (b"b", None, None)], NAMES)
    write_hf(tmp_path / "train-00001-of-00002.parquet", [(b"c", "c.png", 2), (b"d", "d.png", -1)], NAMES)
    write_hf(tmp_path / "unlabeled.parquet", [(b"e", "e.png", 1), (b"f", "f.png", None)], NAMES)
    write_hf(tmp_path / "test.parquet", [(b"g", "g.png", 1), (b"h", "h.png", None)], NAMES)
    source = manifest.read(tmp_path)
    assert (source.classes, source.total) == (NAMES, 8)
    records = list(source.records)
    assert [(r.path, r.origin, r.label) for r in records] == [
        ("test#1/g.png", "test", "ant"),
        ("test#2/h.png", "test", None),
        ("train-00000-of-00002#1/a.png", "labeled", "zebra"),
        ("train-00000-of-00002#2", "pool", None),
        ("train-00001-of-00002#1/c.png", "labeled", "bee"),
        ("train-00001-of-00002#2/d.png", "pool", None),
        ("unlabeled#1/e.png", "pool", "ant"),
        ("unlabeled#2/f.png", "pool", None),
    ]
    refused = {r.path: r.content.reason for r in records if isinstance(r.content, Refusal)}
    assert refused == {"test#2/h.png": "no_label"}
    assert [r.content for r in records if r.origin != "test"] == [b"a", b"b", b"c", b"d", b"e", b"f"]


def test_one_file_is_labeled_and_pool(tmp_path: Path) -> None:
    """In a single table the rows without label are the pool; a row without bytes is read by its path."""
    write_hf(tmp_path / "all.parquet", [(b"a", None, 1), (None, "b.png", None), (None, "/etc/passwd", 1)], NAMES)
    (tmp_path / "b.png").write_bytes(b"b")
    records = list(manifest.read(tmp_path / "all.parquet").records)
    assert [(r.origin, r.label) for r in records] == [("labeled", "ant"), ("pool", None), ("labeled", "ant")]
    assert records[1].content == str(tmp_path / "b.png")
    assert isinstance(records[2].content, Refusal)


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.png,2\nb.png,10\nc.png,\n",
        "\ufeffpath;label\r\na.png;2\r\nb.png;10\r\nc.png;\r\n",
        'label\tpath\textra\n2\ta.png\tx\n10\t"b.png"\t"new\nline"\n\tc.png\tx\n\n',
        "path,label\ra.png,2\rb.png,10\rc.png,\r",
        'path,"a\nremark",label\na.png,x,2\nb.png,x,10\nc.png,x,\n',
    ],
    ids=["plain", "bom_semicolon_crlf", "tab_quoted_newline", "cr", "newline_in_header"],
)
def test_csv_dialects(tmp_path: Path, text: str) -> None:
    """Delimiter, byte order mark, line ends and quoting are found out; classes without an order are sorted."""
    path = tmp_path / "images.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert _rows(path) == [("a.png", "labeled", "2"), ("b.png", "labeled", "10"), ("c.png", "pool", None)]
    source = manifest.read(path)
    assert (source.classes, source.total) == (["2", "10"], 3)


def test_plain_parquet_with_text_labels(tmp_path: Path) -> None:
    """`path` and `label` as text, also dictionary-encoded as pandas writes categories."""
    for label in (pa.array(["b", "a", None]), pa.array(["b", "a", None]).dictionary_encode()):
        pq.write_table(pa.table({"path": ["1.png", "2.png", "3.png"], "label": label}), tmp_path / "t.parquet")
        assert manifest.read(tmp_path / "t.parquet").classes == ["a", "b"]
        assert [label for *_, label in _rows(tmp_path / "t.parquet")] == ["b", "a", None]


@pytest.mark.parametrize(
    "path",
    [
        *("../a.png", "x/../../a.png", "/etc/passwd", "~/a.png", "file:a.png", "HTTP://a/b.png", "s3://a/b"),
        *("C:\\a.png", "\\\\host\\a.png", "a\\..\\..\\b.png", ""),
    ],
)
def test_hostile_paths_are_named_with_their_row(tmp_path: Path, path: str) -> None:
    """No path leads out of the manifest's folder, and nothing is fetched."""
    write_all(tmp_path, {"m.csv": f'path,label\nok.png,a\n"{path}",a\n'.encode()})
    error = _error(tmp_path / "m.csv")
    assert "m.csv, row 2: path" in error
    assert "row 1" not in error


def test_all_mistakes_at_once_up_to_twenty(tmp_path: Path) -> None:
    """Wrong label numbers and unknown classes of all tables come in one message."""
    write_hf(tmp_path / "train.parquet", [(b"a", None, 0), (b"b", None, 7)], NAMES)
    write_hf(tmp_path / "test.parquet", [(b"c", None, 0)] * 30, ["zebbra"])
    error = _error(tmp_path)
    assert "test.parquet, row 19: no labeled image has the class 'zebbra'; did you mean 'zebra'?" in error
    assert "and more" in error
    write_hf(tmp_path / "test.parquet", [(b"c", None, 0)], NAMES)
    assert "train.parquet, row 2: label 7, but the classes are numbered 0 to 2" in _error(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", b"file,label\na,b\n", "no column 'path'"),
        ("m.csv", b"path,lable\na,b\n", "no column 'label'; did you mean 'lable'?; present: 'path', 'lable'"),
        ("m.csv", b"path\na\n", "a table in which nothing is labeled is named pool"),
        ("m.csv", b"path,label\na\n", "row 1 (line 2) has 1 fields, the header 2"),
        ("m.csv", b'path,label\na,x\nb,"y\nc,x\nd,y\n', "row 2 (up to line 5) cannot be read: unexpected end of data"),
        ("m.csv", b'path,label\na,x\nb,"y\nc,"x"\nd,y\n', "row 2 (up to line 4) cannot be read"),
        ("m.csv", b'path,"label\na,x\n', "the header cannot be read: unexpected end of data"),
        ("m.csv", b"path,label\na,x\nb, x\n", "row 2: label ' x' has a space at its end"),
        ("m.csv", "path\tlabel\na\tx\n".encode("utf-16"), "is text in UTF-16"),
        ("m.csv", b"path,label\n\xff\xfe,b\n", "cannot be read"),
        ("m.csv", b"", "no column 'path'"),
        ("m.parquet", b"PAR1 and no end", "no complete Parquet file (15 bytes)"),
        ("m.json", b"{}", "is no manifest; known: .parquet, .csv"),
    ],
)
def test_unusable_tables(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Each says what is wrong with which file."""
    write_all(tmp_path, {name: content})
    assert message in _error(tmp_path / name)


@pytest.mark.parametrize(
    "columns", [{"image": [1], "label": [0]}, {"path": ["a"], "label": [0.5]}, {"path": [["a"]], "label": [1]}]
)
def test_columns_of_another_kind(tmp_path: Path, columns: dict[str, Any]) -> None:
    """A column of the wrong type is named with what was expected."""
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    assert "expected" in _error(tmp_path / "m.parquet")


def test_a_folder_without_tables(tmp_path: Path) -> None:
    """An image folder given as manifest says which tables are looked for."""
    assert "no train.parquet" in _error(tmp_path)


def test_paths_are_read_and_links_refused(tmp_path: Path) -> None:
    """A path-based manifest goes through ingest: images are read, a missing file and a link away are quarantined."""
    workspace = Workspace(tmp_path, source={"kind": "manifest", "path": "source/train.csv"})
    write_all(workspace.source, {"a/1.png": picture(1), "a/2.png": picture(2)})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/3.png").write_bytes(picture(3))
    (workspace.source / "link").symlink_to(tmp_path / "elsewhere")
    rows = "path,label\na/1.png,x\na/2.png,\na/4.png,x\nlink/3.png,x\na,x\n"
    (workspace.source / "train.csv").write_text(rows)
    assert workspace.run("ingest")[0] == 0
    assert workspace.reasons() == {"a/4.png": "unreadable", "link/3.png": "link_outside_root", "a": "not_regular"}
    assert [
        (row["path"], row["origin"]) for row in sorted(workspace.table("catalog/own/images"), key=lambda r: r["path"])
    ] == [
        ("a/1.png", "labeled"),
        ("a/2.png", "pool"),
    ]
