"""Labels together with their images: class folders, Hugging Face's Parquet, COCO and FiftyOne, written as they stream.

Images keep their bytes; an image without a label is left out. All names are those of tasks/export/names.py.
"""

import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tasks.export.names import class_folder, file_name
from tasks.export.pictures import Exported

SHARD_BYTES, GROUP_ROWS = 256 * 2**20, 100  # Hugging Face reads a row group at once: keep it small
Pictures = Iterable[Exported]


def write_folders(pictures: Pictures, folder: Path, classes: list[str]) -> None:
    """`<class>/<name>`: what torchvision's ImageFolder and most trainers read. A class without images has no folder."""
    folder_of = {name: folder / class_folder(name) for name in classes}
    for picture in pictures:
        target = folder_of[picture.label]
        target.mkdir(exist_ok=True)
        _put(picture, target)


def write_huggingface(pictures: Pictures, folder: Path, classes: list[str]) -> None:
    """data/train-NNNNN-of-NNNNN.parquet: image struct<bytes, path>, label as ClassLabel, image_id, confidence, source.

    `load_dataset("parquet", data_files=...)` and `load_dataset(FOLDER)` both read it, with the class names.
    """
    schema = _features(classes)
    number = {name: i for i, name in enumerate(classes)}
    (folder / "data").mkdir()
    shards, group, size = list[Path](), list[dict[str, Any]](), 0
    writer: pq.ParquetWriter | None = None
    try:
        for picture in pictures:
            if writer is None:
                shards.append(folder / f"data/{len(shards)}.part")
                writer = pq.ParquetWriter(shards[-1], schema, compression="zstd", write_page_checksum=True)
            row = {name: getattr(picture, name) for name in ("image_id", "confidence", "source")}
            image = {"bytes": picture.content, "path": file_name(picture.image_id, picture.path, picture.content)}
            group.append({"image": image, "label": number[picture.label], **row})
            size += len(picture.content)
            if len(group) == GROUP_ROWS or size >= SHARD_BYTES:
                writer.write_table(pa.Table.from_pylist(group, schema))
                group.clear()
            if size >= SHARD_BYTES:
                writer.close()
                writer, size = None, 0
        if writer and group:
            writer.write_table(pa.Table.from_pylist(group, schema))
    finally:
        if writer:
            writer.close()
    for place, path in enumerate(shards):
        path.rename(folder / f"data/train-{place:05d}-of-{len(shards):05d}.parquet")


def write_coco(pictures: Pictures, folder: Path, classes: list[str]) -> None:
    """images/<name> and annotations.json: one annotation an image, its box the whole image, category_id from 1.

    COCO has no form for whole-image classes of its own; this is the one its readers take. `images` also carry
    `image_id`, and annotations `score` and `source`. Sizes are those of the stored pixels, as pycocotools users expect.
    """
    (folder / "images").mkdir()
    number = {name: i for i, name in enumerate(classes, start=1)}
    annotations = folder / "annotations.part"
    with (folder / "annotations.json").open("w") as out, annotations.open("w+") as later:
        categories = [{"id": i, "name": name, "supercategory": ""} for name, i in number.items()]
        out.write(f'{{"categories": {json.dumps(categories)},\n"images": [')
        for place, picture in enumerate(pictures, start=1):
            name = _put(picture, folder / "images")
            with Image.open(io.BytesIO(picture.content)) as image:
                width, height = image.size
            entry = {"id": place, "file_name": name, "width": width, "height": height, "image_id": picture.image_id}
            what: dict[str, Any] = {"id": place, "image_id": place, "category_id": number[picture.label]}
            what |= {"bbox": [0, 0, width, height], "area": width * height, "iscrowd": 0}
            what |= {"score": picture.confidence, "source": picture.source}
            _item(out.write, entry, place)
            _item(later.write, what, place)
        later.seek(0)
        out.write('\n],\n"annotations": [')
        out.writelines(later)
        out.write("\n]}\n")
    annotations.unlink()


def write_fiftyone(pictures: Pictures, folder: Path, classes: list[str]) -> None:
    """data/<name> and labels.json: FiftyOne's FiftyOneImageClassificationDataset; needs no FiftyOne and no mongod.

    Label, confidence, and as attributes of the label image_id, source and path.
    """
    (folder / "data").mkdir()
    number = {name: i for i, name in enumerate(classes)}
    with (folder / "labels.json").open("w") as out:
        out.write(f'{{"classes": {json.dumps(classes)},\n"labels": {{')
        for place, picture in enumerate(pictures, start=1):
            key = json.dumps(Path(_put(picture, folder / "data")).stem)
            more = {"image_id": picture.image_id, "source": picture.source, "path": picture.path}
            value = {"label": number[picture.label], "confidence": picture.confidence, "attributes": more}
            out.write(("" if place == 1 else ",") + f"\n{key}: {json.dumps(value)}")
        out.write("\n}}\n")


def _item(write: Callable[[str], object], value: dict[str, Any], place: int) -> None:
    write(("" if place == 1 else ",") + "\n" + json.dumps(value, allow_nan=False))


def _put(picture: Exported, folder: Path) -> str:
    """Write an image under a name of its own and return the name; two never share one."""
    name = file_name(picture.image_id, picture.path, picture.content)
    with (folder / name).open("xb") as stream:
        stream.write(picture.content)
    return name


def _features(classes: list[str]) -> pa.Schema:
    """The schema with Hugging Face's own description of the columns in its metadata."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [("image", image), ("label", pa.int64()), ("image_id", pa.string())]
    text = {"dtype": "string", "_type": "Value"}
    features = {
        "image": {"_type": "Image"},
        "label": {"names": classes, "_type": "ClassLabel"},
        "image_id": text,
        "confidence": {"dtype": "float32", "_type": "Value"},
        "source": text,
    }
    metadata: dict[bytes | str, bytes | str] = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    return pa.schema([*fields, ("confidence", pa.float32()), ("source", pa.string())], metadata)
