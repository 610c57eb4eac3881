"""What a person's edits and tags mean, without any database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.decisions import Decision
from tasks.review.corrections import Refused, Row, interpret, without_stale

CLASSES = ["cat", "dog", "frog", "reject"]


def _interpret(*rows: Row) -> tuple[list[Decision], list[Refused]]:
    return interpret(rows, CLASSES, {"known", "a", "b"}, who="Ada", when="now", table="t")


@pytest.mark.parametrize(
    ("label", "tags", "meaning"),
    [
        ("cat", [], None),
        ("dog", [], ("relabel", "dog")),
        ("", [], ("reject", "")),
        ("", ["reject"], ("reject", "")),
        ("cat", ["accept"], ("accept", "cat")),
        ("dog", ["accept"], ("relabel", "dog")),
        ("cat", ["reject"], ("reject", "")),
        ("cat", ["undo"], ("undo", "")),
        ("cat", ["dog"], ("relabel", "dog")),
        ("cat", ["class:dog"], ("relabel", "dog")),
        ("cat", ["class: dog"], ("relabel", "dog")),
        ("cat", ["cat"], ("accept", "cat")),
        ("cat", ["cat", "accept"], ("accept", "cat")),
        ("dog", ["dog", "class:dog", "accept"], ("relabel", "dog")),
        ("cat", ["class:reject"], ("relabel", "reject")),
    ],
)
def test_meaning(label: str, tags: list[str], meaning: tuple[str, str] | None) -> None:
    """One row, one meaning; the image was shown as a cat."""
    made, refused = _interpret(Row("known", "cat", label, tuple(tags)))
    assert [(d.action, d.old, d.new) for d in made] == ([(meaning[0], "cat", meaning[1])] if meaning else [])
    assert refused == []


@pytest.mark.parametrize(
    ("label", "tags", "why"),
    [
        ("cat", ["accept", "reject"], "contradict each other: accept cat and reject"),
        ("dog", ["reject"], "contradict each other: reject and relabel dog"),
        ("dog", ["cat"], "contradict"),
        ("cat", ["cat", "dog"], "contradict"),
        ("", ["accept"], "contradict"),
        ("dgo", [], "'dgo' is not a class; did you mean 'dog'?"),
        ("dgo", ["accept"], "'dgo' is not a class"),
    ],
)
def test_refusal(label: str, tags: list[str], why: str) -> None:
    """Contradictions and unknown classes become no decision, and the reason says why; other rows still count."""
    made, refused = _interpret(Row("a", "cat", label, tuple(tags)), Row("b", "cat", "dog", ()))
    assert [d.image_id for d in made] == ["b"]
    assert [r.image_id for r in refused] == ["a"]
    assert why in refused[0].why


def test_a_tag_of_ones_own_is_listed_and_hinders_nothing() -> None:
    """People tag for other reasons too; what they corrected in the same row counts."""
    made, refused = _interpret(Row("known", "cat", "dog", ("acept",)))
    assert [(d.action, d.new) for d in made] == [("relabel", "dog")]
    assert "did you mean 'accept'?" in refused[0].why


def test_unknown_images_are_refused_only_when_something_was_said() -> None:
    """A foreign sample without a correction is nobody's business."""
    assert _interpret(Row("stranger", "", "", ("reject",)), Row("other", "cat", "cat", ()))[1] == [
        Refused("stranger", "is no image of this round's label table")
    ]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*CLASSES, "", "dgo"]),
            st.lists(st.sampled_from([*CLASSES, "accept", "undo", "class:dog", "mine"]), unique=True, max_size=3),
        )
    )
)
def test_every_correction_is_a_decision_or_is_listed(said: list[tuple[str, list[str]]]) -> None:
    """Nothing a person said is dropped silently, and no decision names a class that is none."""
    rows = [Row(str(i), "cat", label, tuple(tags)) for i, (label, tags) in enumerate(said)]
    known = {row.image_id for row in rows}
    made, refused = interpret(rows, CLASSES, known, who="Ada", when="now", table="t")
    heard = {d.image_id for d in made} | {r.image_id for r in refused}
    assert heard == {row.image_id for row in rows if row.tags or row.label != "cat"}
    assert all((d.new in CLASSES) == (d.action in ("relabel", "accept")) for d in made)
    assert len({d.image_id for d in made}) == len(made)


def test_only_a_class_stands_when_the_label_changed_since() -> None:
    """accept and reject judged a label that is no longer there; unchanged ones, classes and what was said of the table
    of now count, also of a label that a person changed."""
    made = [
        Decision(image_id, action, "cat", "dog" if action == "relabel" else "", "Ada", "now", "t")
        for image_id, action in [("same", "reject"), ("a", "reject"), ("b", "accept"), ("c", "relabel"), ("d", "undo")]
    ]
    made.append(Decision("e", "accept", "cat", "cat", "Ada", "now", "today's"))
    fresh, stale = without_stale(made, {"same": "cat", **dict.fromkeys("acde", "dog"), "b": None}, "today's")
    assert [d.image_id for d in fresh] == ["same", "c", "d", "e"]
    assert [r.image_id for r in stale] == ["a", "b"]
