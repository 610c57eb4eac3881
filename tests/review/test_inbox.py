"""FiftyOne's database deleted before a sync: its own tags and labels are still there."""

import shutil
from typing import Any

from tasks import decisions, files
from tasks.review import app, dataset, inbox, session
from tests.review.conftest import CLASSES, Workspace


def _state(data: Any) -> dict[str, tuple[str | None, str, tuple[str, ...]]]:
    columns = data.values(["image_id", "review.label", "shown", "tags"])
    return {i: (label, shown, tuple(tags)) for i, label, shown, tags in zip(*columns, strict=True)}


def _edit(data: Any, ids: list[str]) -> dict[str, str]:
    """Annotate, a cleared label and tags, one of them a typo; the labels shown."""
    label: dict[str, str] = dict(zip(*data.values(["image_id", "teacher.label"]), strict=True))
    edited, cleared, tagged, typo = ids[:4]
    sample = data.match({"image_id": edited}).first()
    sample.review.label = CLASSES[CLASSES.index(label[edited]) - 1]
    sample.save()
    sample = data.match({"image_id": cleared}).first()
    sample.review = None
    sample.save()
    data.match({"image_id": tagged}).tag_samples("accept")
    data.match({"image_id": typo}).tag_samples("forg")
    return label


def test_tags_and_labels_that_no_sync_has_seen_outlive_the_database(fo: Any, review: Workspace) -> None:
    """Kept once they changed, and not again; built anew every sample is as it was; a sync then reads the same."""
    session.build("r1", review.settings)
    data = fo.load_dataset("understudy-r1")
    keep = app._keeping(data)
    keep()
    _edit(data, review.ids)
    keep()
    before, written = _state(data), inbox.path("r1").stat()
    keep()
    assert inbox.path("r1").stat().st_mtime_ns == written.st_mtime_ns
    fo.delete_dataset("understudy-r1")
    shutil.rmtree(files.WORK / "review")
    session.build("r1", review.settings)
    assert _state(fo.load_dataset("understudy-r1")) == before
    result = session.sync("r1", "Ada")
    assert {d.image_id: d.action for d in result.new} == dict(
        zip(review.ids[:3], ("relabel", "reject", "accept"), strict=True)
    )
    assert [refused.image_id for refused in result.refused] == [review.ids[3]]
    fo.delete_dataset("understudy-r1")
    session.build("r1", review.settings)
    assert len(decisions.read(files.decisions("r1"))) == 3
    assert session.sync("r1", "Ada").new == (), "what a sync has seen does not come back"


def test_a_judgement_of_a_label_that_changed_meanwhile_is_listed(fo: Any, review: Workspace) -> None:
    """The labels are others and the database is gone: a class stands, the rest is said to have been said."""
    session.build("r1", review.settings)
    label = _edit(data := fo.load_dataset("understudy-r1"), review.ids)
    inbox.keep("r1", data)
    new = {i: CLASSES[(CLASSES.index(name) + 1) % len(CLASSES)] for i, name in label.items()}
    built = fo.load_dataset("understudy-r1")
    dataset.show(built, {i: (new[i], "") for i in review.ids[:4]})
    refused = inbox.restore("r1", built)
    assert [row.image_id for row in refused] == review.ids[1:4]
    assert all("look again" in row.why for row in refused)
    assert _state(built)[review.ids[0]][0] == CLASSES[CLASSES.index(label[review.ids[0]]) - 1]
