"""The way there and back through a real mongod."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks import decisions, files
from tasks.errors import Busy, Integrity, UserError
from tasks.review import dataset, pictures, rows, session, views
from tests.review.conftest import CLASSES, POOL, Workspace, publish_labels, read_labels


def _members(fo: Any, view: str, round_: str = "r1") -> list[str]:
    found: list[str] = fo.load_dataset(dataset.name_of(round_)).load_saved_view(view).values("image_id")
    return found


def _reference(round_: str, other: str) -> pd.DataFrame:
    """What the views must hold, row by row and slowly."""
    table = read_labels(round_)
    table = table[table["reason"] != "held_out"].set_index("image_id")
    best, said = {}, {}
    for key in (round_, other):
        part = next(files.iter_tables(files.probs(key))).to_pydict()
        said[key] = dict(zip(part["image_id"], part["prob"], strict=True))
        best[key] = {i: CLASSES[int(np.argmax(p))] for i, p in said[key].items()}
    table["disagrees"] = [best[round_][i] != best[other][i] for i in table.index]
    first, last = sorted((round_, other))
    table["flow"] = [f"{best[first][i]} -> {best[last][i]}" for i in table.index]
    table["margin"] = [sorted(said[round_][i])[-1] - sorted(said[round_][i])[-2] for i in table.index]
    table["entropy"] = [-sum(p * np.log(p) for p in said[round_][i] if p) for i in table.index]
    return table


@pytest.mark.parametrize(("round_", "other"), [("r1", "r2"), ("r2", "r1")])
def test_views_hold_what_their_names_say(fo: Any, review: Workspace, round_: str, other: str) -> None:
    """The members and the order of every saved view equal a plain pandas reference, in an early and the last round."""
    built = session.build(round_, review.settings)
    table = _reference(round_, other)
    up = table.sort_values(["confidence"], kind="stable")
    down = table.sort_values(["confidence"], ascending=False, kind="stable")
    expected = {
        "least confident kept": up[up["reason"] == "kept"],
        "most confident refused": down[down["reason"].isin(["low_confidence", "class_full"])],
        "teacher and student disagree": down[down["disagrees"]],
        "label flow": down[down["disagrees"]].sort_values("flow", kind="stable"),
        "smallest margin": table.sort_values("margin", kind="stable"),
        "highest entropy": table.sort_values("entropy", ascending=False, kind="stable"),
        **{f"class: {name}": up[up["label"] == name] for name in CLASSES},
    }
    assert [name for name in built.views if name != views.CONFLICTS] == list(expected)
    for name, members in expected.items():
        assert _members(fo, name, round_) == list(members.index), name
        assert built.views[name] == len(members) > 0
    assert built.images == built.pool == POOL


def test_every_sample_shows_the_files(fo: Any, review: Workspace) -> None:
    """Fields equal the artefacts, joined by image_id; pictures are there and enlarged; what is no opinion is fixed."""
    session.build("r1", review.settings)
    data = fo.load_dataset("understudy-r1")
    table = read_labels("r1").set_index("image_id")
    for sample in data:
        row = table.loc[sample.image_id]
        assert (sample.teacher.label, sample.review.label, sample.reason) == (row["label"], row["label"], row["reason"])
        assert sample.confidence == pytest.approx(row["confidence"])
        assert (sample.source, sample.copies, sample.round) == (row["source"], row["copies"], "r1")
        assert sample.student.label in CLASSES
        assert 0 <= sample.entropy <= np.log(len(CLASSES)) + 1e-6
        assert Path(sample.filepath).parent == review.folder / pictures.folder("r1")
        assert sample.metadata.width >= pictures.ENLARGED
    assert data.active_label_schemas == ["review"]
    assert data.label_schemas["review"]["classes"] == CLASSES
    assert "review" in data.generate_label_schemas(scan_samples=False), "the App's Annotate tab calls this first"
    with pytest.raises(ValueError, match="read-only"):
        _relabel(data, review.ids[0], "dog", field="teacher")


def test_corrections_reach_the_ledger_and_survive_the_database(fo: Any, review: Workspace) -> None:
    """Label edits, a cleared label and tags become rows; a second sync adds none; a new database shows them again."""
    session.build("r1", review.settings)
    data = fo.load_dataset("understudy-r1")
    edited, cleared, accepted, rejected, tagged, twice, wrong = review.ids[:7]
    label = dict(zip(*data.values(["image_id", "teacher.label"]), strict=True))
    other = {i: CLASSES[CLASSES.index(label[i]) - 1] for i in review.ids}
    _relabel(data, edited, other[edited])
    _clear(data, cleared)
    _tag(data, accepted, "accept")
    _tag(data, rejected, "reject")
    _tag(data, tagged, f"class:{other[tagged]}")
    _tag(data, twice, other[twice])
    _relabel(data, wrong, "forg")

    result = session.sync("r1", "Ada")

    said = {d.image_id: (d.action, d.old, d.new) for d in decisions.read(files.decisions("r1"))}
    assert said == {
        edited: ("relabel", label[edited], other[edited]),
        cleared: ("reject", label[cleared], ""),
        accepted: ("accept", label[accepted], label[accepted]),
        rejected: ("reject", label[rejected], ""),
        tagged: ("relabel", label[tagged], other[tagged]),
        twice: ("relabel", label[twice], other[twice]),
    }
    assert {d.table for d in result.new} == {files.manifest_hash(files.labels("r1"))}
    assert [entry.image_id for entry in result.refused] == [wrong]
    assert "did you mean 'frog'?" in str(result)
    assert "dvc repro" in str(result)
    ledger = files.decisions("r1").read_bytes()
    assert session.sync("r1", "Ada").new == ()
    assert files.decisions("r1").read_bytes() == ledger

    fo.delete_dataset("understudy-r1")
    shutil.rmtree(files.WORK / "review")
    session.build("r1", review.settings)
    again = fo.load_dataset("understudy-r1")
    shown = {i: (d, name) for i, d, name in zip(*again.values(["image_id", "decision", "review.label"]), strict=True)}
    assert shown[edited] == (f"relabel: {other[edited]}", other[edited])
    assert shown[rejected] == ("reject", label[rejected])
    assert shown[accepted] == (f"accept: {label[accepted]}", label[accepted])
    assert [d for d, _ in shown.values()].count("") == POOL - len(said)
    assert session.sync("r1", "Ada").new == ()


def test_a_second_thought_is_a_new_row_and_old_rows_keep_their_bytes(fo: Any, review: Workspace) -> None:
    """Editing back after a sync, and undo, are decisions too; a colleague's row that came by git is not overruled."""
    session.build("r1", review.settings)
    data = fo.load_dataset("understudy-r1")
    image, colleague = review.ids[0], review.ids[1]
    teacher = data.match({"image_id": image}).first().teacher.label
    new = next(name for name in CLASSES if name != teacher)
    _relabel(data, image, new)
    session.sync("r1", "Ada")
    first = files.decisions("r1").read_bytes()
    row = decisions.read(files.decisions("r1"))[0]
    decisions.append(files.decisions("r1"), [replace(row, image_id=colleague, who="Bob")])
    _relabel(data, image, teacher)
    session.sync("r1", "Ada")
    _tag(data, image, "undo")
    session.sync("r1", "Ada")
    said = [(d.image_id, d.action, d.new, d.who) for d in decisions.read(files.decisions("r1"))]
    assert said == [
        (image, "relabel", new, "Ada"),
        (colleague, "relabel", new, "Bob"),
        (image, "relabel", teacher, "Ada"),
        (image, "undo", "", "Ada"),
    ]
    assert files.decisions("r1").read_bytes().startswith(first)


def test_building_again_never_loses_a_correction(fo: Any, review: Workspace) -> None:
    """Nothing changed: the data set is kept with its edits. The labels changed: the build refuses until the sync.
    A picture is gone: it is made again."""
    session.build("r1", review.settings)
    data = fo.load_dataset("understudy-r1")
    _tag(data, review.ids[0], "reject")
    assert session.build("r1", review.settings).reused
    assert fo.load_dataset("understudy-r1").count_sample_tags() == {"reject": 1}
    publish_labels("r1", read_labels("r1").assign(copies=2))
    with pytest.raises(UserError, match="1 images that are in no ledger yet"):
        session.build("r1", review.settings)
    session.sync("r1", "Ada")
    assert not session.build("r1", review.settings).reused
    assert session.build("r1", review.settings).reused
    next(pictures.folder("r1").iterdir()).unlink()
    assert not session.build("r1", review.settings).reused
    assert pictures.count(pictures.folder("r1")) == POOL


def test_a_judgement_of_a_label_that_changed_is_listed(fo: Any, review: Workspace) -> None:
    """accept and reject judge the label shown; once the table says something else, only a class still counts."""
    session.build("r1", review.settings)
    data = fo.load_dataset("understudy-r1")
    accepted, named = review.ids[:2]
    _tag(data, accepted, "accept")
    _tag(data, named, "class:an owl")
    table = read_labels("r1")
    swapped = {name: CLASSES[i - 1] for i, name in enumerate(CLASSES)}
    publish_labels("r1", table.assign(label=table["label"].map(swapped)))
    result = session.sync("r1", "Ada")
    assert [d.image_id for d in result.new] == [named]
    assert [entry.image_id for entry in result.refused] == [accepted]


def test_unknown_ids_are_listed_never_guessed(fo: Any, review: Workspace) -> None:
    """A sample somebody added in FiftyOne, and an image that left the pool since, become no decision."""
    session.build("r1", review.settings)
    data = fo.load_dataset("understudy-r1")
    data.add_sample(fo.Sample(filepath="/elsewhere.png", image_id="f" * 64, tags=["reject"]))
    gone = review.ids[5]
    _tag(data, gone, "reject")
    table = read_labels("r1")
    publish_labels("r1", table[table["image_id"] != gone])
    result = session.sync("r1", "Ada")
    assert result.new == ()
    assert {entry.image_id for entry in result.refused} == {"f" * 64, gone}


def test_a_human_label_of_an_earlier_round_is_shown(fo: Any, review: Workspace) -> None:
    """What the label table carries from round to round starts as the label in `review`."""
    table = read_labels("r2")
    table.loc[0, ["label", "source", "reason"]] = ["an owl", "human", "human_label"]
    table.loc[1, ["label", "source", "reason"]] = [None, "human", "human_rejected"]
    publish_labels("r2", table)
    session.build("r2", review.settings)
    data = fo.load_dataset("understudy-r2")
    first, second = (data.match({"image_id": table["image_id"][i]}).first() for i in (0, 1))
    assert (first.review.label, first.decision) == ("an owl", "earlier round: relabel: an owl")
    assert (second.review.label, second.decision) == (second.teacher.label, "earlier round: reject")
    assert session.sync("r2", "Ada").new == ()


def test_a_limit_shortens_the_views_from_their_ends(fo: Any, review: Workspace) -> None:
    """With a limit every view is a beginning of the full view, and no class goes missing."""
    full = rows.load("r1", review.settings).rows
    cut = review.settings.model_copy(update={"review": review.settings.review.model_copy(update={"limit": 20})})
    built = session.build("r1", cut)
    assert (built.images, built.pool) == (20, POOL)
    assert "20 images of 48" in str(built)
    assert all(built.views[f"class: {name}"] for name in CLASSES)
    best = full[full["reason"] == "kept"].sort_values("confidence", kind="stable")["image_id"].tolist()
    assert _members(fo, views.LEAST_CONFIDENT)[:3] == best[:3]


def test_what_cannot_be_reviewed_is_said(review: Workspace) -> None:
    """An unknown round, an unfinished one, labels of other probabilities, no review, no name: each its own message."""
    with pytest.raises(UserError, match=r"'r11' is no round of params\.yaml; did you mean 'r1'"):
        session.build("r11", review.settings)
    with pytest.raises(UserError, match="there is no review of r2"):
        session.sync("r2", "Ada")
    with pytest.raises(UserError, match="a name"):
        session.sync("r1", " ")
    shutil.rmtree(files.labels("r2"))
    with pytest.raises(UserError, match="data/labels/r2 does not exist"):
        session.build("r2", review.settings)
    shutil.rmtree(files.probs("r1"))
    shutil.copytree(files.probs("r2"), files.probs("r1"))
    with pytest.raises(Integrity, match="was not made from"):
        session.build("r1", review.settings)


def test_one_build_or_sync_at_a_time(review: Workspace) -> None:
    """Whoever comes second is told so (exit 75) instead of mixing two data sets."""
    with session.alone(), pytest.raises(Busy):
        session.sync("r1", "Ada")


def _relabel(data: Any, image_id: str, name: str, field: str = "review") -> None:
    sample = data.match({"image_id": image_id}).first()
    sample[field].label = name
    sample.save()


def _clear(data: Any, image_id: str) -> None:
    sample = data.match({"image_id": image_id}).first()
    sample.review = None
    sample.save()


def _tag(data: Any, image_id: str, tag: str) -> None:
    data.match({"image_id": image_id}).tag_samples(tag)
