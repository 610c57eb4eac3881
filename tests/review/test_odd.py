"""Pools that a review must stand: tiny ones, huge label sets, pictures of all kinds, nothing left to ask."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tasks import files
from tasks.decisions import Decision, append
from tasks.params import Settings
from tasks.review import dataset, embedding_map, session, views
from tests.conftest import ROOT
from tests.review import made

BUDGET = 5


@pytest.fixture
def settings(fo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """One round with nets of small images, in an empty folder; its data set is gone afterwards."""
    monkeypatch.chdir(tmp_path)
    raw = yaml.load((ROOT / "params.yaml").read_text(), yaml.CSafeLoader)
    raw["rounds"] = {"r1": raw["rounds"]["r1"]}
    raw["sources"] = {name: {"kind": "folder", "path": name} for name in ("mine", "theirs", "empty")}
    raw["image"] |= {"size": 28, "channels": 1}
    yield Settings.model_validate(raw)
    if fo.dataset_exists(dataset.name_of("r1")):
        fo.delete_dataset(dataset.name_of("r1"))


def _make(encoded: dict[str, bytes], classes: list[str], other: dict[str, bytes] | None = None) -> list[str]:
    """A finished round: all labels learnt from, those of the pool of `mine` and of `other`, the second source."""
    ids = sorted(encoded | (other or {}))
    for source, of in (("mine", encoded), ("theirs", other or {}), ("empty", {})):
        made.images(source, of, {image_id: f"{image_id[:8]}.png" for image_id in sorted(of)})
    made.split(classes, dict.fromkeys(ids, "pool"), {}, {})
    rng = np.random.default_rng(0)
    prob_NC = rng.dirichlet(np.full(len(classes), 0.2), len(ids)).astype(np.float32)
    made.probabilities("r1", "r0", ids, prob_NC)
    made.labels("r1", made.accepted("r1", "r0", ids, classes, prob_NC, ["kept"] * len(ids)))
    made.net("r0", classes, 1, net="lenet5")
    return ids


def _pool(count: int, shape: tuple[int, ...] = (9, 7)) -> dict[str, bytes]:
    rng = np.random.default_rng(count)
    return dict(made.png(rng.integers(0, 256, shape, dtype=np.uint8)) for _ in range(count))


def test_a_pool_of_three(fo: Any, settings: Settings) -> None:
    """Three grey images, two classes, a budget beyond them: all three are queued, and are points on the map."""
    ids = _make(_pool(3), ["no", "yes"])
    built = session.build("r1", settings, budget=BUDGET)
    assert (built.images, built.views[views.QUEUE]) == (3, 3)
    assert "a queue of 5 was asked for" in str(built)
    data = fo.load_dataset(built.name)
    assert len(data.load_brain_results(embedding_map.MAP).points) == 3
    assert sorted(data.load_saved_view(views.QUEUE).values("image_id")) == ids


@pytest.mark.parametrize("count", [2, 3])
def test_any_map_of_a_few(fo: Any, settings: Settings, count: int) -> None:
    """Two images have no map and are reviewed all the same; t-SNE makes one of three."""
    _make(_pool(count), ["no", "yes"])
    mapped = settings.model_copy(update={"review": settings.review.model_copy(update={"map": "tsne"})})
    data = fo.load_dataset(session.build("r1", mapped, budget=BUDGET).name)
    assert len(data) == count
    assert data.has_brain_runs == (count >= 3)


def test_a_thousand_classes(fo: Any, settings: Settings) -> None:
    """No view a class then, the label is chosen from a list; the queue is as large as asked."""
    classes = [f"class {number:04}" for number in range(1000)]
    _make(_pool(40), classes)
    built = session.build("r1", settings, budget=BUDGET)
    assert built.views[views.QUEUE] == BUDGET
    assert not [name for name in built.views if name.startswith("class: ")]
    schema = fo.load_dataset(built.name).label_schemas["review"]
    assert (schema["component"], len(schema["classes"])) == ("dropdown", 1000)


def test_pictures_of_all_kinds(fo: Any, settings: Settings) -> None:
    """One pixel, a strip, a large photograph, 16 bits, transparency, colours of print: each is shown as it is."""
    kinds = [("PNG", "L", (1, 1)), ("PNG", "L", (3, 4000)), ("JPEG", "RGB", (2500, 1200)), ("JPEG", "L", (30, 30))]
    kinds += [("PNG", "I;16", (40, 20)), ("PNG", "RGBA", (20, 40)), ("JPEG", "CMYK", (50, 90)), ("GIF", "P", (90, 70))]
    encoded = {}
    for kind, mode, size in kinds:
        stream = io.BytesIO()
        Image.new(mode, size).save(stream, kind)
        encoded[f"{len(encoded):064}"] = stream.getvalue()
    _make(encoded, ["no", "yes"])
    data = fo.load_dataset(session.build("r1", settings, budget=BUDGET).name)
    for path, width, height in zip(*data.values(["filepath", "metadata.width", "metadata.height"]), strict=True):
        with Image.open(path) as shown:
            assert shown.size == (width, height)
        wide, high = next(size for number, (_, _, size) in enumerate(kinds) if f"{number:064}" == Path(path).stem)
        assert (width / wide, width % wide) == (height / high, 0)


def test_nothing_left_to_ask(fo: Any, settings: Settings) -> None:
    """People decided on everything: no queue, said in words, no empty view of it, and the review opens elsewhere."""
    classes = ["no", "yes"]
    ids = _make(_pool(4), classes)
    about = {"who": "Ada", "when": "2026-01-01T00:00:00+00:00", "table": files.manifest_hash(files.labels("r1"))}
    append(files.decisions("r1"), [Decision(i, "relabel", "no", "yes", **about) for i in ids])
    built = session.build("r1", settings, budget=BUDGET)
    assert views.QUEUE not in built.views
    assert built.first == views.FIRST
    assert "a queue of 5 was asked for: no more labels are learnt from and undecided" in str(built)
    assert next(iter(embedding_map.BY_QUEUE)) not in fo.load_dataset(built.name).list_workspaces()


def test_each_source_can_be_filtered(fo: Any, settings: Settings) -> None:
    """`image_source` is where an image lies; a third source, without a pool, gives none and is no obstacle."""
    mine, theirs = _pool(5), _pool(7)
    _make(mine, ["no", "yes"], theirs)
    data = fo.load_dataset(session.build("r1", settings, budget=BUDGET).name)
    assert data.count_values("image_source") == {"mine": 5, "theirs": 7}
    assert set(data.match({"image_source": "theirs"}).values("image_id")) == set(theirs)


def test_no_pool_at_all(fo: Any, settings: Settings) -> None:
    """A round whose teacher was shown nothing has nothing to review, and does not fail."""
    _make({}, ["no", "yes"])
    built = session.build("r1", settings, budget=BUDGET)
    assert (built.images, built.pool, views.QUEUE in built.views) == (0, 0, False)
