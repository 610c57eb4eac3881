"""Exports as other tools read them: labels, ids and pixels survive, whatever the names are."""

import hashlib
import json
import os
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tasks import files
from tasks.errors import Integrity, UserError
from tasks.export import write
from tasks.export.names import class_of
from tasks.export.rows import Choice
from tests.conftest import Project
from tests.export.conftest import Made
from tests.flows.conftest import UNDERSTUDY


def _export(made: Made, format_: str, out: str = "out", force: bool = False, **choice: Any) -> Path:
    write.export(format_, Choice("r1", **choice), made.settings, Path(out), force)
    return Path(out)


def _id(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _hashes(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): _id(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def _pixels(made: Made, image_id: str) -> np.ndarray:
    import io

    return np.asarray(Image.open(io.BytesIO(made.content[image_id])).convert("RGB"))


def _same(found: pd.DataFrame, made: Made, columns: list[str]) -> None:
    assert list(found["image_id"]) == sorted(made.rows)
    for name in columns:
        ours = [None if pd.isna(v) or v == "" else v for v in found[name]]
        theirs = [made.rows[i][name] for i in found["image_id"]]
        assert ours == [None if v == "" else v for v in theirs], name


def test_csv_reads_back_in_pandas(made: Made) -> None:
    """Every row, confidences exact to float32; no cell can be run by a spreadsheet, and one `'` less is the text."""
    path = _export(made, "csv", kept=False) / "labels.csv"
    raw = pd.read_csv(path, dtype={"confidence": np.float32})
    texts = [cell for name in raw.columns for cell in raw[name] if isinstance(cell, str)]
    assert not [cell for cell in texts if cell.startswith(("=", "+", "-", "@"))]
    assert sum(cell.startswith("'=") for cell in texts) >= 2
    for name in ("label", "path"):
        raw[name] = [v[1:] if isinstance(v, str) and v.startswith("'") else v for v in raw[name]]
    _same(raw, made, ["label", "confidence", "copies", "round", "source", "reason", "path"])


def test_parquet_reads_back_in_pandas(made: Made) -> None:
    """Every row and column, soft labels too; the schema says where it comes from."""
    import pyarrow.parquet as pq

    path = _export(made, "parquet", kept=False) / "labels.parquet"
    found = pd.read_parquet(path)
    _same(found, made, ["label", "confidence", "copies", "round", "reason", "path"])
    soft = [None if v is None else list(v) for v in found["soft"]]
    assert soft == [made.rows[i]["soft"] for i in found["image_id"]]
    provenance = json.loads(pq.read_schema(path).metadata[b"understudy"])
    assert provenance["inputs"]["data/labels/r1"] == files.manifest_hash(files.labels("r1"))


def test_class_folders_read_back_in_torchvision(made: Made) -> None:
    """ImageFolder finds every image once, under its class, with its bytes; no name leaves the folder."""
    from torchvision.datasets import ImageFolder

    read = ImageFolder(str(_export(made, "folders")))
    found = {_id(path): class_of(read.classes[target]) for path, target in read.samples}
    assert len(read.samples) == len(found)
    assert found == made.learnt()
    assert sorted(p.name for p in Path().iterdir()) == [".work", "data", "out", "params.yaml"]
    for image, target in read:
        assert image.size == (9, 6)
        assert 0 <= target < len(read.classes)


def test_class_folders_say_what_torchvision_passes_over(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """ImageFolder chooses files by suffix, and .gif is none of its own: the user is told how many."""

    def one_gif(_pictures: object, out: Path, _classes: object) -> None:
        (out / "a.gif").touch()

    assert "GIF" not in write.export("folders", Choice("r1"), made.settings, Path("none"), force=False)
    monkeypatch.setitem(write.WITH_IMAGES, "folders", one_gif)
    said = write.export("folders", Choice("r1"), made.settings, Path("one"), force=False)
    assert "1 are GIF, which torchvision's ImageFolder passes over" in said


def test_huggingface_reads_back_in_datasets(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """load_dataset("parquet") offline: class names, ids, bytes and pixels; several shards are one data set."""
    from tasks.export import images

    monkeypatch.setattr(images, "SHARD_BYTES", 1500)
    folder = _export(made, "huggingface") / "data"
    assert len(list(folder.glob("train-*-of-*.parquet"))) > 3
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from inside the library's own imports
        import datasets

        datasets.disable_progress_bars()
        read = datasets.load_dataset(
            "parquet", data_files=str(folder / "*.parquet"), split="train", cache_dir=str(tmp_path / "cache")
        )
        names = read.features["label"].names
        rows = list(read)
        raw = [row["image"]["bytes"] for row in read.cast_column("image", datasets.Image(decode=False))]
    assert {row["image_id"]: names[row["label"]] for row in rows} == made.learnt()
    assert len(rows) == len(made.learnt())
    for row, content in zip(rows, raw, strict=True):
        assert content == made.content[row["image_id"]]
        np.testing.assert_array_equal(np.asarray(row["image"].convert("RGB")), _pixels(made, row["image_id"]))


def test_huggingface_is_a_source_again(made: Made) -> None:
    """What was exported can be ingested as a manifest: the same ids, the same labels."""
    from tasks.images.tables import ParquetTable

    found = {}
    for path in sorted((_export(made, "huggingface") / "data").iterdir()):
        table = ParquetTable(path)
        assert table.names is not None
        for row in table.read(with_images=True):
            assert row.image is not None
            found[hashlib.sha256(row.image).hexdigest()] = table.names[int(row.label or 0)]
    assert found == made.learnt()


def test_coco_reads_back_in_pycocotools(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    """Images, categories and one annotation each, the box as large as the image."""
    from pycocotools.coco import COCO

    folder = _export(made, "coco")
    read = COCO(str(folder / "annotations.json"))
    found = {}
    for entry in read.loadImgs(read.getImgIds()):
        [note] = read.loadAnns(read.getAnnIds(imgIds=entry["id"]))
        assert (entry["width"], entry["height"], note["bbox"]) == (9, 6, [0, 0, 9, 6])
        assert _id(folder / "images" / entry["file_name"]) == entry["image_id"]
        found[entry["image_id"]] = read.loadCats(note["category_id"])[0]["name"]
    assert found == made.learnt()


@pytest.fixture(scope="module")
def fo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """FiftyOne with a real mongod, its database in a temporary folder."""
    from tasks.review import database

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.chdir(tmp_path_factory.mktemp("database"))
        warnings.simplefilter("ignore")  # from inside fiftyone's own imports
        yield database.connect()


def test_fiftyone_reads_back_with_a_real_database(fo: Any, made: Made) -> None:
    """Dataset.from_dir: label, confidence, image_id and path of every image, and the image itself."""
    folder = _export(made, "fiftyone")
    kind = fo.types.FiftyOneImageClassificationDataset
    read = fo.Dataset.from_dir(dataset_dir=str(folder), dataset_type=kind, name="exported")
    try:
        values = zip(*read.values(["filepath", "ground_truth"]), strict=True)
        found = {_id(path): label for path, label in values}
        assert {i: label.label for i, label in found.items()} == made.learnt()
        for image_id, label in found.items():
            assert (label.image_id, label.path) == (image_id, made.rows[image_id]["path"])
            assert label.confidence == pytest.approx(made.rows[image_id]["confidence"])
        assert list(read.default_classes or read.distinct("ground_truth.label"))
    finally:
        fo.delete_dataset("exported")


def test_choices(made: Made) -> None:
    """--who, --all and --with-labeled choose exactly these rows; the given labels are marked."""

    def read(name: str, **choice: Any) -> pd.DataFrame:
        return pd.read_parquet(_export(made, "parquet", name, **choice) / "labels.parquet")

    assert set(read("kept")["image_id"]) == set(made.learnt())
    assert set(read("people", who="people")["reason"]) == {"human_label"}
    assert set(read("people-all", who="people", kept=False)["reason"]) == {"human_label", "human_rejected"}
    with_given = read("given", given=True)
    assert len(with_given) == len(made.learnt()) + len(made.given)
    given = with_given[with_given["source"] == "given"]
    assert dict(zip(given["image_id"], given["label"], strict=True)) == made.given


@pytest.mark.parametrize("format_", write.FORMATS)
def test_same_input_same_bytes(made: Made, format_: str) -> None:
    """Exports of the same labels are equal file by file, and say which label table they are of."""
    first, again = _export(made, format_, "one"), _export(made, format_, "two")
    assert _hashes(first) == _hashes(again)
    provenance = files.read_json(first / "provenance.json")
    assert provenance["inputs"]["data/labels/r1"] == files.manifest_hash(files.labels("r1"))
    assert (provenance["round"], provenance["rows"]) == ("r1", len(made.learnt()))


def test_a_folder_in_use_is_kept_unless_forced(made: Made) -> None:
    """Not empty: refused and untouched; with force replaced as a whole. The project itself is never replaced."""
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        _export(made, "csv")
    assert os.listdir("out") == ["mine.txt"]
    _export(made, "csv", force=True)
    assert sorted(os.listdir("out")) == ["labels.csv", "provenance.json"]
    for target in (".", "..", "data/labels", "data"):
        with pytest.raises(UserError, match="project"):
            _export(made, "csv", target, force=True)
    with pytest.raises(UserError, match="a folder"):
        _export(made, "csv", "labels.csv")


def test_damaged_inputs_and_lost_images_are_not_exported(made: Made) -> None:
    """A flipped bit in a shard, or an image no shard has: exit 5, and no folder appears."""
    path = next(files.IMAGES.rglob("part-*.parquet"))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(Integrity, match=path.name):
        _export(made, "folders")
    content[100] ^= 1
    path.write_bytes(content)
    path.unlink()
    (path.parent / files.MANIFEST).unlink()
    files.seal(path.parent, {"stage": "made"})
    with pytest.raises(Integrity, match="not in data/images"):
        _export(made, "folders")
    assert sorted(p.name for p in Path().iterdir()) == [".work", "data", "params.yaml"]


def test_a_killed_export_leaves_nothing_under_its_name(made: Made) -> None:
    """20 SIGKILLs at random moments: the folder is absent or whole; the next export is as if nothing had been."""
    expected, rng = _hashes(_export(made, "folders", "expected")), np.random.default_rng(0)
    for _ in range(20):
        if not (child := os.fork()):
            _export(made, "folders", force=True)
            os._exit(0)
        time.sleep(rng.random() * 0.1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if Path("out").exists():
            assert _hashes(Path("out")) == expected
    assert _hashes(_export(made, "folders", force=True)) == expected
    assert not list(Path().glob(".out*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "xlsx"], "use one of csv, parquet, folders, huggingface, fiftyone, coco"),
        (["--round", "r9"], "'r9' is no round of params.yaml"),
        (["--who", "nobody"], "use one of everyone, people, teacher"),
    ],
)
def test_a_wrong_word_is_explained(made: Made, arguments: list[str], words: str) -> None:
    """An unknown format, round or person ends with exit 2 and what there is; nothing is made."""
    done = Project(Path.cwd()).run(UNDERSTUDY, "export", "out", *arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("out").exists()


def test_the_command_says_what_it_wrote(made: Made) -> None:
    """`understudy export` counts rows, and those left out because they have no label."""
    done = Project(Path.cwd()).run(
        UNDERSTUDY, "export", "here/deep", "--format", "coco", "--round", "r1", "--all", "--with-labeled"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "here/deep: 40 rows as coco, every row of the label table and the labeled images of the split; "
        "12 of them without a label, left out\n"
    )
    assert len(files.read_json(Path("here/deep/annotations.json"))["images"]) == 28
