"""Stage `labeled`: the images of `labeled`, `calib` and `gate` by themselves, so that no net depends on the pool.

A pool that grows changes data/images and data/split. These artefacts stay the same byte for byte as long as the labels
do, and with them the first teacher, the baseline and the gate: DVC does not train or judge them again.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files, leaks
from tasks.errors import Integrity
from tasks.images.shards import Shards
from tasks.stage import Stage

PARAMS = ()


def labeled(stage: Stage) -> None:
    """data/images and data/split in, data/labeled and data/gate out. Integrity: an image is missing or held out."""
    images, split = stage.inputs(files.IMAGES), stage.input(files.SPLIT)
    classes = files.read_json(split / "classes.json")
    leaks.refuse_learnt(stage, "the labeled images", files.read_table(split / "labeled.parquet")["image_id"])
    place: dict[str, Shards] = {}
    for target, names in ((files.LABELED, ("labeled", "calib")), (files.GATE, ("gate",))):
        out = stage.output(target, origin=False)
        files.write_json(classes, out / "classes.json")
        shards = Shards(out)
        for name in names:
            table = files.read_table(split / f"{name}.parquet")
            files.write_table(table, out / f"{name}.parquet")
            ids: list[Any] = table["image_id"].to_pylist()
            place |= dict.fromkeys(ids, shards)
    missing = set(place)
    for path in files.parts(images):
        wanted = pc.is_in(files.read_table(path, ["image_id"])["image_id"], pa.array(sorted(missing), pa.string()))
        if pc.any(wanted).as_py():
            chosen: dict[str, list[Any]] = files.read_table(path).filter(wanted).to_pydict()
            for image_id, content in zip(chosen["image_id"], chosen["bytes"], strict=True):
                place[image_id].add(image_id, content)
            missing.difference_update(chosen["image_id"])
    for shards in set(place.values()):
        shards.close()
    if missing:
        what = f"{len(missing)} labeled images are not in {images}; the first is {min(missing)}"
        raise Integrity("missing_image", what, f"rm -r {images}, then `dvc repro`")
    stage.summary(images=len(place))
