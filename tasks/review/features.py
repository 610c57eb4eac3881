"""What the newest net of a round sees in images, for the map, for similar images and for the queue.

No stage keeps features, so the images are looked at again, each once: the answers lie under .work/features, by net and
form of the image, until that is deleted. N images, D features.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.errors import Integrity
from tasks.params import Settings
from tasks.progress import Progress
from tasks.review import rows

HOME = files.WORK / "features"
NETS = 3  # whose features are kept


@dataclass(frozen=True, slots=True)
class Features:
    """The features of some images, row by row."""

    ids: list[str]
    feature_ND: np.ndarray  # float32

    def of(self, ids: Sequence[str]) -> np.ndarray:
        """(N, D) in the order of `ids`; NaN where they are not known."""
        place = {image_id: row for row, image_id in enumerate(self.ids)}
        at_N = np.array([place.get(image_id, -1) for image_id in ids], np.int64)
        found_ND = np.full((len(at_N), self.feature_ND.shape[1]), np.nan, np.float32)
        found_ND[at_N >= 0] = self.feature_ND[at_N[at_N >= 0]]
        return found_ND


def look(ids: Sequence[str], round_: str, settings: Settings) -> Features | None:
    """The features of these images, asking the net only about those that are not known yet.

    None where there is nothing to look at or nobody to look: the nets are not here, or review.features is 0.
    """
    folder = newest_net(round_, settings)
    if not ids or not folder.is_dir():
        return None
    files.verify(folder)
    store = _store(folder, settings)
    known = [path for path in sorted(store.glob("*.parquet")) if _is_whole(path)]
    tables = [files.read_table(path) for path in known]
    if todo := sorted(set(ids) - {image_id for table in tables for image_id in table["image_id"].to_pylist()}):
        _ask(todo, folder, store, settings)
        tables = [files.read_table(path) for path in sorted(store.glob("*.parquet"))]
    wanted = pa.array(ids, pa.string())
    table = pa.concat_tables(t.filter(pc.is_in(t["image_id"], wanted)) for t in tables).sort_by("image_id")
    feature_ND = pc.list_flatten(table["feature"]).to_numpy().reshape(table.num_rows, -1)
    return Features([str(image_id) for image_id in table["image_id"].to_pylist()], feature_ND)


def newest_net(round_: str, settings: Settings) -> Path:
    """The student of this round where it labels by now, else the round's teacher."""
    teacher = settings.rounds[round_].teacher
    has_labeled = rows.compared(round_, settings) not in {None, teacher}
    return files.champion(round_ if has_labeled else teacher)


def _store(folder: Path, settings: Settings) -> Path:
    """The folder of what this net said of images in this form; of other nets the last few are kept."""
    store = HOME / files.digest([files.net_hash(folder), settings.image.model_dump()])[:16]
    store.mkdir(parents=True, exist_ok=True)
    store.touch()
    for old in sorted(HOME.iterdir(), key=lambda path: -path.stat().st_mtime_ns)[NETS:]:
        shutil.rmtree(old)
    return store


def _ask(ids: list[str], folder: Path, store: Path, settings: Settings) -> None:
    """One file a chunk, so that a killed look goes on where it was."""
    from tasks.images.store import Images
    from tasks.models import load_model
    from tasks.nearest import look

    begin = max((int(path.stem.removeprefix("chunk-")) + 1 for path in store.glob("*.parquet")), default=0)
    net, _ = load_model(folder)
    images = Images(files.IMAGES, settings.cache)
    with Progress(len(ids), "features", "images") as progress:
        chunks = images.batches(ids, settings.image, settings.label.chunk)
        for index, (chunk, image_NCHW) in enumerate(chunks, start=begin):
            feature_ND = look(net, image_NCHW, settings.label.batch)[1].numpy()
            flat = pa.FixedSizeListArray.from_arrays(pa.array(feature_ND.ravel()), feature_ND.shape[1])
            path = store / f"chunk-{index:06d}.parquet"
            files.write_table(pa.table({"image_id": chunk, "feature": flat}), path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
            progress.advance(len(chunk))


def _is_whole(path: Path) -> bool:
    """Whether a chunk can be read; one that cannot is thrown away, and its images are looked at again."""
    try:
        files.read_table(path, ["image_id"])
    except Integrity:
        path.unlink()
        return False
    return True
