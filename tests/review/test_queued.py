"""The queue with a budget, the features it rests on, and the map of them."""

import shutil
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tasks import files
from tasks.params import Settings
from tasks.review import embedding_map, features, queued, rows, selection, session, views, workspaces
from tests.review import made
from tests.review.conftest import CLASSES, Workspace

BUDGET = 6


@pytest.fixture
def seeing(workspace: Workspace) -> Settings:
    """The workspace with the nets of both rounds: untrained ones, which see something all the same."""
    settings = workspace.settings
    image = settings.image.model_copy(update={"size": 28, "channels": 3})
    for key in ("r0", "r1"):
        made.net(key, CLASSES, 3, net="lenet5")
    return settings.model_copy(update={"image": image})


def test_a_queue_is_exact_and_says_why(seeing: Settings) -> None:
    """min(budget, accepted and undecided) images, none twice, ranked; the same again; by another seed another slice."""
    reviewed = rows.load("r1", seeing)
    could = queued.candidates(reviewed.rows)["image_id"].tolist()
    seen = features.look(could, "r1", seeing)
    found = queued.enqueue(reviewed, "r1", seeing, BUDGET, seen)
    assert found["queue_rank"].tolist() == list(range(1, BUDGET + 1))
    assert found["image_id"].is_unique
    assert set(found["image_id"]) <= set(could)
    assert set(found["queue_reason"]) <= set(queued.REASONS)
    assert (found["queue_reason"] == "random").sum() == 1  # a tenth of 6, rounded up
    pd.testing.assert_frame_equal(found, queued.enqueue(reviewed, "r1", seeing, BUDGET, seen))
    other = queued.enqueue(reviewed, "r1", seeing.model_copy(update={"seed": 5}), BUDGET, seen)
    assert found["image_id"].tolist() != other["image_id"].tolist()
    assert len(queued.enqueue(reviewed, "r1", seeing, 1000, seen)) == len(could)


def test_disagreements_are_those_of_the_files(seeing: Settings) -> None:
    """With that list alone the queue begins with all labels that a net of one of the two rounds contradicts."""
    weights = dict.fromkeys(("atypical", "copies", "rare_class", "threshold"), 0.0) | {"random": 0.0}
    wanted = seeing.review.model_copy(update={"queue": seeing.review.queue.model_copy(update=weights)})
    reviewed = rows.load("r1", seeing)
    could = queued.candidates(reviewed.rows)
    said = could["disagrees"]
    found = queued.enqueue(reviewed, "r1", seeing.model_copy(update={"review": wanted}), 1000, None)
    named = found[found["queue_reason"] == "disagreement"]["image_id"]
    assert set(named) == set(could[said]["image_id"])
    assert 0 < len(named) < len(found) == len(could)
    assert set(found["queue_reason"][len(named) :]) == {"threshold"}


def test_copies_count_those_that_people_labeled(seeing: Settings) -> None:
    """An accepted label whose near copy was given another class by a person stands in the list `copies`."""
    reviewed = rows.load("r1", seeing)
    could = queued.candidates(reviewed.rows)
    mine, label = could["image_id"].iloc[0], could["label"].iloc[0]
    labeled = files.read_table(files.SPLIT / "labeled.parquet").to_pylist()
    theirs = next(row["image_id"] for row in labeled if row["label"] != label)
    pairs = pa.table({"image_id": [mine], "group": ["g"], "match": [theirs]})
    files.write_table(pairs, files.SPLIT / "duplicates.parquet")
    found = queued.enqueue(reviewed, "r1", seeing, BUDGET, None).set_index("image_id")["queue_reason"]
    assert found[mine] in {"copies", "random"}
    assert set(found[found == "copies"].index) <= {mine}


def test_an_image_is_looked_at_once(seeing: Settings) -> None:
    """Known features need neither images nor a second look; a damaged chunk is looked at again, with equal results."""
    ids = rows.load("r1", seeing).rows["image_id"].tolist()
    first = features.look(ids[:20], "r1", seeing)
    every = features.look(ids, "r1", seeing)
    assert first is not None
    assert every is not None
    np.testing.assert_allclose(every.of(ids[:20]), first.of(ids[:20]), atol=1e-5)
    assert np.isnan(first.of(["unknown"])).all()
    chunks = sorted(features.HOME.rglob("chunk-*.parquet"))
    assert len(chunks) == 2
    chunks[0].write_bytes(b"damaged")
    again = features.look(ids, "r1", seeing)
    assert again is not None
    np.testing.assert_allclose(again.of(ids), every.of(ids), atol=1e-5)
    shutil.rmtree(files.IMAGES)
    assert features.look(ids, "r1", seeing) is not None


def test_the_net_looks_at_what_is_shown(seeing: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a queue at the images of the map alone; with one at candidates too, up to the setting; at the queue."""
    monkeypatch.setattr(embedding_map, "MOST", 5)
    few = seeing.model_copy(update={"review": seeing.review.model_copy(update={"features": 8})})
    reviewed = rows.load("r1", few)
    _, on_map, seen = selection.choose(reviewed, "r1", few, budget=0)
    assert seen is not None
    assert on_map == seen.ids == sorted(reviewed.rows["image_id"])[:5]
    shown, on_map, seen = selection.choose(reviewed, "r1", few, budget=3)
    assert seen is not None
    assert on_map[:3] == shown.dropna(subset="queue_rank").sort_values("queue_rank")["image_id"].tolist()
    assert {*on_map} <= {*seen.ids}
    assert 8 <= len(seen.ids) <= 8 + 3


@pytest.mark.parametrize("how", ["pca", "tsne"])
def test_the_map_keeps_what_is_alike_together(how: str) -> None:
    """Two bundles of features are two bundles of points, the same at every call."""
    rng = np.random.default_rng(0)
    feature_ND = np.concatenate([rng.normal(size=(20, 100)), rng.normal(size=(20, 100)) + 8]).astype(np.float32)
    reduced_ND = embedding_map.reduce(feature_ND)
    assert reduced_ND.shape[1] <= embedding_map.ENOUGH
    point_N2 = embedding_map.plane(reduced_ND, how, 0)
    apart = np.linalg.norm(point_N2[:, None] - point_N2[None], axis=2)
    assert apart[:20, :20].max() < apart[:20, 20:].max()
    assert (np.argsort(apart + np.eye(40) * 1e9, axis=1)[:, 0] < 20).tolist() == [True] * 20 + [False] * 20
    np.testing.assert_array_equal(point_N2, embedding_map.plane(reduced_ND, how, 0))


def test_the_app_shows_queue_map_and_similar_images(fo: Any, review: Workspace, seeing: Settings) -> None:
    """The queue's view in the order of its ranks; points and neighbours by our own features; reused as it is."""
    built = session.build("r1", seeing, budget=BUDGET)
    data = fo.load_dataset(built.name)
    assert (built.first, built.views[views.QUEUE]) == ("review-queue", BUDGET)
    assert data.load_saved_view(views.QUEUE).values("queue_rank") == list(range(1, BUDGET + 1))
    assert set(data.load_saved_view(views.QUEUE).distinct("queue_reason")) <= set(queued.REASONS)
    assert set(data.distinct("image_source")) == {"digits"}
    assert data.list_workspaces() == [workspaces.REVIEW, *embedding_map.COLORED, *embedding_map.BY_QUEUE]
    assert data.load_brain_results(embedding_map.MAP).points.shape == (len(data), 2)

    ids = data.values("image_id")
    seen = features.look(ids, "r1", seeing)
    assert seen is not None
    unit_ND = seen.of(ids) / np.linalg.norm(seen.of(ids), axis=1, keepdims=True)
    query = data.first()
    nearest = data.sort_by_similarity(query.id, k=4, brain_key=embedding_map.SIMILAR).values("image_id")
    reduced_ND = embedding_map.reduce(unit_ND)
    reduced_ND = reduced_ND / np.linalg.norm(reduced_ND, axis=1, keepdims=True)
    expected = [ids[i] for i in np.argsort(-(reduced_ND @ reduced_ND[0]))[:4]]
    assert nearest == expected
    assert session.build("r1", seeing, budget=BUDGET).reused
