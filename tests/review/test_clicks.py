"""Clicks in the App on a real mongod, and their way into the ledger; the browser is in tests/ui."""

import shutil
from dataclasses import replace
from typing import Any

import pytest

from tasks import decisions, files
from tasks.errors import UserError
from tasks.review import clicks, dataset, rows, session, spool, views
from tests.review.conftest import CLASSES, POOL, Workspace, publish_labels, read_labels


@pytest.fixture
def data(fo: Any, review: Workspace) -> Any:
    """The review of r1."""
    session.build("r1", review.settings)
    return fo.load_dataset("understudy-r1")


def _samples(data: Any, image_ids: list[str]) -> list[str]:
    found: dict[str, str] = dict(zip(*data.values(["image_id", "id"]), strict=True))
    return [found[image_id] for image_id in image_ids]


def _shown(data: Any) -> dict[str, tuple[str, str, str, tuple[str, ...]]]:
    columns = data.values(["image_id", "review.label", "shown", "decision", "tags"])
    return {i: (label, shown, words, tuple(tags)) for i, label, shown, words, tags in zip(*columns, strict=True)}


def _ledger() -> dict[str, tuple[str, str, str]]:
    return {d.image_id: (d.action, d.new, d.who) for d in decisions.read(files.decisions("r1"))}


def test_a_selection_is_said_shown_and_taken_back_at_once(data: Any, review: Workspace) -> None:
    """One act, one line on disk, every picture changed; taken back before a sync it never reaches the ledger."""
    before = _shown(data)
    chosen = review.ids[:6]
    data.match({"image_id": chosen[0]}).tag_samples("reject")  # an earlier thought: what is said now answers it
    clicks.decide(data, _samples(data, chosen), "class", "frog", who="Ada")
    right = {i for i in chosen if before[i][0] == "frog"}
    said = {i: ("frog", "frog", f"{'accept' if i in right else 'relabel'}: frog", ()) for i in chosen}
    assert _shown(data) == before | said
    assert len(spool.path("r1").read_bytes().splitlines()) == 1
    clicks.decide(data, _samples(data, chosen[:2]), "reject", who="Ada")
    assert len(clicks.take_back(data, who="Ada")) == 2
    assert _shown(data) == before | said
    assert len(clicks.take_back(data, who="Ada")) == 6
    assert _shown(data) == before
    with pytest.raises(UserError, match="no click of Ada"):
        clicks.take_back(data, who="Ada")
    session.sync("r1", "Ada")
    assert _ledger() == {}


def test_clicks_reach_the_ledger_once_and_can_still_be_taken_back(data: Any, review: Workspace) -> None:
    """A second sync adds nothing; what the ledger has is taken back by rows that say what stood before."""
    teacher = dict(zip(*data.values(["image_id", "teacher.label"]), strict=True))
    other = {i: CLASSES[CLASSES.index(teacher[i]) - 1] for i in review.ids}
    image, rejected = review.ids[:2]
    clicks.decide(data, _samples(data, [image]), "class", other[image], who="Ada")
    clicks.decide(data, _samples(data, [rejected]), "reject", who="Ada")
    assert clicks.standing(data).waiting == 2
    session.sync("r1", "Eve, whose name clicks do not carry")
    assert _ledger() == {image: ("relabel", other[image], "Ada"), rejected: ("reject", "", "Ada")}
    text = files.decisions("r1").read_bytes()
    assert session.sync("r1", "Ada").new == ()
    assert files.decisions("r1").read_bytes() == text
    clicks.take_back(data, who="Ada")
    clicks.take_back(data, who="Ada")
    assert {_shown(data)[i][:3] for i in (rejected,)} == {(teacher[rejected], teacher[rejected], "")}
    session.sync("r1", "Ada")
    assert _ledger() == {image: ("undo", "", "Ada"), rejected: ("undo", "", "Ada")}
    assert files.decisions("r1").read_bytes().startswith(text)


def test_the_database_deleted_and_built_again_shows_the_same(fo: Any, data: Any, review: Workspace) -> None:
    """Labels, words, tags and the counts of all views: from the ledger, and from clicks that no sync has seen."""
    samples = _samples(data, review.ids)
    clicks.decide(data, samples[:5], "accept", who="Ada")
    session.sync("r1", "Ada")
    session.build("r1", review.settings)
    data = fo.load_dataset("understudy-r1")
    clicks.decide(data, _samples(data, review.ids[5:9]), "class", "an owl", who="Ada")
    clicks.decide(data, _samples(data, review.ids[8:9]), "reject", who="Ada")
    before = _shown(data)
    counts = {name: data.load_saved_view(name).count() for name in data.list_saved_views()}
    fo.delete_dataset("understudy-r1")
    shutil.rmtree(files.WORK / "review")
    built = session.build("r1", review.settings)
    assert _shown(fo.load_dataset("understudy-r1")) == before
    assert built.views == counts
    session.sync("r1", "Ada")
    assert len(_ledger()) == 9


def test_a_click_that_mongod_never_saw_is_shown_when_the_review_is_opened_again(data: Any, review: Workspace) -> None:
    """The line on disk is what counts."""
    said = decisions.Decision(
        review.ids[0], "reject", "cat", "", "Ada", "2026-01-01T00:00:00+00:00", data.info["table"]
    )
    spool.add("r1", [spool.Click(said, "cat", "")])
    assert session.build("r1", review.settings).reused
    data.reload()
    assert _shown(data)[review.ids[0]][2] == "reject"


def test_clicks_on_an_older_label_table_are_flagged(data: Any, review: Workspace) -> None:
    """A class stands, with the table it was said of; accept and reject of a label that changed wait for a new look."""
    label = dict(zip(*data.values(["image_id", "teacher.label"]), strict=True))
    named, accepted, same = review.ids[:3]
    clicks.decide(data, _samples(data, [named]), "class", CLASSES[CLASSES.index(label[named]) - 1], who="Ada")
    clicks.decide(data, _samples(data, [accepted, same]), "accept", who="Ada")
    table = read_labels("r1")
    changed = table["image_id"] == accepted
    table.loc[changed, "label"] = CLASSES[CLASSES.index(label[accepted]) - 1]
    publish_labels("r1", table)
    result = session.sync("r1", "Ada")
    assert (len(result.new), result.older) == (2, 2)
    assert "2 of them said of an older label table" in str(result)
    [refused] = result.refused
    assert refused.image_id == accepted
    assert "look again" in refused.why
    assert [click.said.image_id for click in spool.pending("r1")] == [accepted], "it is not lost"
    assert session.sync("r1", "Ada").new == ()


def test_what_undo_takes_back_after_a_save_is_said_by_further_rows(data: Any, review: Workspace) -> None:
    """The own last operation, the one before it, and so on; each picture gets what was said before it, or `undo`; rows
    that are there keep their bytes, and nobody else's word is touched."""
    image, other = review.ids[:2]
    samples = _samples(data, [image, other])
    label = dict(zip(*data.values(["image_id", "teacher.label"]), strict=True))
    new = CLASSES[CLASSES.index(label[image]) - 1]
    clicks.decide(data, samples[:1], "accept", who="Ada")
    clicks.decide(data, samples, "class", new, who="Ada")
    session.sync("r1", "Ada")
    before = files.decisions("r1").read_bytes()
    clicks.decide(data, samples[1:], "reject", who="Bob")
    assert len(clicks.take_back(data, who="Ada")) == 2
    assert _shown(data)[image][:3] == (label[image], label[image], f"accept: {label[image]}")
    assert _shown(data)[other][2] == "reject", "Bob's word stands and is shown"
    assert len(clicks.take_back(data, who="Ada")) == 1
    assert _shown(data)[image][:3] == (label[image], label[image], "")
    session.sync("r1", "Ada")
    assert files.decisions("r1").read_bytes().startswith(before)
    said = [(d.image_id, d.action, d.new, d.who) for d in decisions.read(files.decisions("r1"))]
    assert sorted(said[2:]) == sorted(
        [(image, "undo", "", "Ada"), (other, "undo", "", "Ada"), (other, "reject", "", "Bob")]
    )
    found = decisions.in_force(files.decisions("r1"), CLASSES)
    assert {i: word.action for i, word in found.words.items()} == {image: "undo", other: "reject"}


def test_a_class_named_like_an_act_is_taken_back_as_the_class_it_is(data: Any, review: Workspace) -> None:
    """What an earlier round says of an image with the label `reject` is no rejection."""
    [sample] = _samples(data, review.ids[:1])
    dataset.show(data, {review.ids[0]: ("reject", f"{rows.CARRIED}relabel: reject")})
    clicks.decide(data, [sample], "class", "cat", who="Ada")
    session.sync("r1", "Ada")
    clicks.take_back(data, who="Ada")
    [back] = [click.said for click in spool.pending("r1")]
    assert (back.action, back.new) == ("relabel", "reject")


def test_two_who_differ_are_a_conflict_whoever_clicked_last(data: Any, review: Workspace) -> None:
    """Both clicked before anybody saved: one row each, neither wins, and a second save adds nothing."""
    [sample] = _samples(data, review.ids[:1])
    clicks.decide(data, [sample], "class", "cat", who="Ada")
    clicks.decide(data, [sample], "class", "dog", who="Bob")
    assert session.sync("r1", "Ada").conflicts == (review.ids[0],)
    assert session.sync("r1", "Bob").new == ()
    assert {(d.who, d.new) for d in decisions.read(files.decisions("r1"))} == {("Ada", "cat"), ("Bob", "dog")}
    assert decisions.in_force(files.decisions("r1"), CLASSES).words == {}
    assert _shown(data)[review.ids[0]][2] == "conflict: Ada says cat, Bob says dog"


def test_a_conflict_is_shown_and_settled(fo: Any, data: Any, review: Workspace) -> None:
    """Bob differs from Ada: both rows stay, a view holds the image, a third word settles it, be it a repeated one."""
    first, second = review.ids[:2]
    clicks.decide(data, _samples(data, [first, second]), "class", "cat", who="Ada")
    session.sync("r1", "Ada")
    rows = [replace(d, who="Bob", action="relabel", new="dog") for d in decisions.read(files.decisions("r1"))]
    decisions.append(files.decisions("r1"), rows)
    assert "people disagree on 2 images" in str(session.sync("r1", "Ada"))
    built = session.build("r1", review.settings)
    assert built.views[views.CONFLICTS] == 2
    data = fo.load_dataset("understudy-r1")
    words = _shown(data)[first][2]
    assert words == "conflict: Ada says cat, Bob says dog"
    clicks.decide(data, _samples(data, [first]), "class", "cat", who="Ada")
    clicks.decide(data, _samples(data, [second]), "class", "frog", who="Cy")
    result = session.sync("r1", "Ada")
    assert (len(result.new), result.conflicts) == (2, ())
    found = decisions.in_force(files.decisions("r1"), CLASSES)
    assert {found.words[i].new for i in (first,)} == {"cat"}
    assert found.words[second].new == "frog"
    assert len(decisions.read(files.decisions("r1"))) == 6
    with pytest.raises(UserError, match="settled a conflict"):
        clicks.take_back(data, who="Cy")


def test_what_makes_no_sense_is_refused_and_written_nowhere(data: Any, review: Workspace) -> None:
    """A class that is none, an empty selection, nobody's word."""
    samples = _samples(data, review.ids[:2])
    for arguments, why in (
        ((samples, "class", "forg", "Ada"), "did you mean 'frog'"),
        (([], "accept", "", "Ada"), "nothing is selected"),
        (([*samples, "0" * 24], "accept", "", "Ada"), "1 of these pictures are not in understudy-r1 any more"),
        ((samples, "accept", "", " "), "needs a name"),
    ):
        with pytest.raises(UserError, match=why):
            clicks.decide(data, *arguments)
    assert spool.pending("r1") == []


def test_the_panels_numbers_are_those_of_the_clicks(data: Any, review: Workspace) -> None:
    """Done, errors and precision against a count by hand; a random slice alone is what an unbiased share rests on."""
    teacher = dict(zip(*data.values(["image_id", "teacher.label"]), strict=True))
    ids = sorted(review.ids, key=lambda i: teacher[i])
    clicks.decide(data, _samples(data, ids[:10]), "accept", who="Ada")
    clicks.decide(data, _samples(data, ids[10:12]), "reject", who="Ada")
    clicks.decide(data, _samples(data, ids[12:13]), "undo", who="Ada")
    now = clicks.standing(data)
    assert (now.done, now.of, now.errors, now.right, now.judged, now.random) == (13, POOL, 2, 10, 12, False)
    assert now.precision == pytest.approx(
        (10 / 12, 0.51586, 0.97914), abs=1e-5
    )  # scipy: binomtest(10, 12).proportion_ci()
    batch = clicks.next_batch(data, 20)
    assert len(batch) == 20
    assert not set(batch) & set(_samples(data, ids[:13]))
    labels = data.select(batch, ordered=True).values("review.label")
    assert labels == sorted(labels)

    field = data.get_field(clicks.QUEUE)
    field.read_only = False
    field.save()
    reasons = dict.fromkeys(_samples(data, ids[8:11]), "random") | dict.fromkeys(
        _samples(data, ids[11:20]), "rare class"
    )
    data.set_values(clicks.QUEUE, reasons, key_field="id")
    now = clicks.standing(data)
    assert (now.done, now.of, now.errors, now.right, now.judged, now.random) == (5, 12, 2, 2, 3, True)
    assert set(clicks.next_batch(data)) == set(_samples(data, ids[13:20]))


def test_the_plugin_is_found_and_its_operators_work_on_a_selection(
    data: Any, review: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FiftyOne knows the plugin without anything copied; a key acts on the picture it was pressed for."""
    import fiftyone.operators as foo

    monkeypatch.setenv(clicks.WHO, "Ada")
    samples = _samples(data, review.ids)

    def run(name: str, selected: list[str], **params: str) -> Any:
        context = {"dataset": data, "selected": selected, "params": params}
        return foo.execute_operator(f"@understudy/review/{name}", context).result

    def words() -> dict[str, str]:
        data.reload()
        return {i: said for i, (_, _, said, _) in _shown(data).items() if said}

    assert run("set_class", samples[:3], key="3") == {"said": True}
    assert {said.partition(": ")[2] for said in words().values()} == {"frog"}
    assert run("reject", samples[:3], sample=samples[4]) == {"said": True}
    assert words()[review.ids[4]] == "reject"
    assert len(words()) == 4
    for nonsense in ({"key": "9"}, {"label": "forg"}):
        assert run("set_class", samples[:3], **nonsense) == {"said": False}
    assert run("take_back", []) == {"said": True}
    assert len(words()) == 3
    run("save", [])
    assert {said[:2] for said in _ledger().values()} <= {("accept", "frog"), ("relabel", "frog")}
    assert sorted(_ledger()) == review.ids[:3]
