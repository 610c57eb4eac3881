"""Stage `labeled`: the labeled images and those of `calib` by themselves, so that training does not depend on the pool.

A pool that grows changes data/images and data/split. This artefact stays the same byte for byte as long as the labels
do, and with it the first teacher and the baseline: DVC does not train them again.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.errors import Integrity
from tasks.images.shards import Shards
from tasks.stage import Stage

PARAMS = ()


def labeled(stage: Stage) -> None:
    """data/images and data/split in, data/labeled out. Integrity names an image that is not there."""
    images, split = stage.inputs(files.IMAGES), stage.input(files.SPLIT)
    out = stage.output(files.LABELED, origin=False)
    ids: list[Any] = []
    for name in ("labeled", "calib"):
        table = files.read_table(split / f"{name}.parquet")
        files.write_table(table, out / f"{name}.parquet")
        ids += table["image_id"].to_pylist()
    files.write_json(files.read_json(split / "classes.json"), out / "classes.json")
    missing, shards = set(ids), Shards(out)
    for path in files.parts(images):
        wanted = pc.is_in(files.read_table(path, ["image_id"])["image_id"], pa.array(sorted(missing), pa.string()))
        if pc.any(wanted).as_py():
            chosen: dict[str, list[Any]] = files.read_table(path).filter(wanted).to_pydict()
            for image_id, content in zip(chosen["image_id"], chosen["bytes"], strict=True):
                shards.add(image_id, content)
            missing.difference_update(chosen["image_id"])
    shards.close()
    if missing:
        what = f"{len(missing)} labeled images are not in {images}; the first is {min(missing)}"
        raise Integrity("missing_image", what, f"rm -r {images}, then `dvc repro`")
    stage.summary(images=len(ids))
