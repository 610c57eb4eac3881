"""The group `lineage` of FiftyOne: the same as `understudy why`, for all images at once."""

from typing import Any

import pytest

from tasks import decisions, files
from tasks.decisions import Decision
from tasks.lineage import opinions
from tasks.lineage.version import Workspace as Here
from tasks.review import dataset, session
from tasks.review.lineage import SIDEBAR
from tests.review.conftest import CLASSES, Workspace, publish_labels, read_labels


def _thresholds(value_of: dict[str, float | None]) -> None:
    folder = files.labels("r1")
    record = files.read_json(folder / files.MANIFEST)
    about = {"how": "fixed", "classes": {name: {"threshold": value} for name, value in value_of.items()}}
    files.write_json(about, folder / "thresholds.json")
    (folder / files.MANIFEST).unlink()
    files.seal(folder, {name: value for name, value in record.items() if name not in {"files", "schema"}})


def test_the_group_says_what_why_says(fo: Any, review: Workspace) -> None:
    """Threshold, rank and what people said of every image equal a look-up of each; the fields are in the sidebar."""
    table = read_labels("r1")
    table.loc[0, ["label", "confidence", "source", "reason"]] = [CLASSES[0], 1.0, "human", "human_label"]
    publish_labels("r1", table)
    _thresholds(dict(zip(CLASSES, [0.7, 0.8, None, 0.7], strict=True)))
    said = Decision(review.ids[3], "relabel", "cat", "dog", "Ada", "2026-01-02T00:00:00+00:00", "0" * 64)
    decisions.append(files.decisions("r2"), [said])
    session.build("r1", review.settings)
    data = fo.load_dataset(dataset.name_of("r1"))
    names = ("rank", "of_class", "threshold", "said", "origin")
    found = zip(*data.values(["image_id", *(f"lineage.{name}" for name in names)]), strict=True)
    rows = {image_id: dict(zip(names, values, strict=True)) for image_id, *values in found}
    assert rows.keys() == set(review.ids)
    for image_id, row in rows.items():
        (expected,) = opinions.of(Here(), image_id, "r1")
        assert (row["rank"], row["of_class"]) == (expected["rank"]["place"], expected["rank"]["of_class"])
        assert row["threshold"] == expected["threshold"]["value"]
        assert row["said"] == ("r2: relabel cat → dog, Ada 2026-01-02" if image_id == said.image_id else None)
        assert row["origin"].startswith("digits: pool/")
    (group,) = [group for group in data.app_config.sidebar_groups if group.name == "lineage"]
    assert group.paths == SIDEBAR
    sample = data.first()
    sample["lineage"]["rank"] = 1000
    with pytest.raises(ValueError, match="read-only"):
        sample.save()


def test_a_word_in_another_ledger_makes_the_group_anew(fo: Any, review: Workspace) -> None:
    """What the group shows is part of what dates the data set."""
    session.build("r1", review.settings)
    assert session.build("r1", review.settings).reused
    said = Decision(review.ids[3], "reject", "cat", "", "Ada", "2026-01-02T00:00:00+00:00", "0" * 64)
    decisions.append(files.decisions("r2"), [said])
    assert not session.build("r1", review.settings).reused
