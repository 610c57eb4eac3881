"""The saved views themselves; what they hold of a review is in test_session.py."""

from typing import Any

from tasks.review import views


def test_class_names_whose_addresses_clash_still_get_their_view(fo: Any) -> None:
    """FiftyOne makes addresses of view names; names of other scripts all become the same one. One that looks like a
    field of MongoDB is a name. All counts, of a view that somebody saved too, are those that FiftyOne counts."""
    data, classes = fo.Dataset(), ["猫", "犬", "C+", "C-", "$reason"]
    for name in ("reason", "image_id", "flow", "decision"):
        data.add_sample_field(name, fo.StringField)
    for name in ("confidence", "margin", "entropy"):
        data.add_sample_field(name, fo.FloatField)
    data.add_sample_field("queue_rank", fo.IntField)
    data.add_sample_field("disagrees", fo.BooleanField)
    data.add_sample_field("review", fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    views.save(data, classes, is_queued=False)
    saved = ["class: 猫", "class: 犬 (class 2)", "class: C+", "class: C- (class 4)", "class: $reason"]
    assert data.list_saved_views()[-5:] == saved
    assert set(views.counts(data, classes).values()) == {0}
    said = [*classes, "犬", "$reason", "other"]
    rows = [{"review": fo.Classification(label=name), "reason": name} for name in said]
    data.add_samples(fo.Sample(filepath=f"/{n}.png", image_id=str(n), **row) for n, row in enumerate(rows))
    data.save_view("of my own", data.match({"image_id": {"$gt": "3"}}))
    counts = views.counts(data, classes)
    assert [counts[name] for name in (*saved, "of my own", views.TORN)] == [1, 2, 1, 1, 2, 4, 8]
    assert counts == {name: data.load_saved_view(name).count() for name in data.list_saved_views()}
