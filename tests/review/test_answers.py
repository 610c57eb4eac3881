"""What a reviewer says, row by row; no database."""

from tasks.review.answers import Row, interpret

CLASSES = ["cat", "dog", "none"]


def test_every_way_to_name_a_picture_is_understood() -> None:
    """A label, a tag with or without its prefix, both alike, unsure, none, and a class that is called none."""
    rows = [
        Row("01", "cat", ()),
        Row("02", "", ("class:dog",)),
        Row("03", "", ("dog",)),
        Row("04", "cat", ("class: cat",)),
        Row("05", "", ("unsure",)),
        Row("06", "", ("none",)),
        Row("07", "", ("class:none",)),
        Row("08", "", ()),
    ]
    answers, refused = interpret(rows, CLASSES)
    assert refused == []
    assert answers == {
        "01": ("class", "cat"),
        "02": ("class", "dog"),
        "03": ("class", "dog"),
        "04": ("class", "cat"),
        "05": ("unsure", ""),
        "06": ("none", ""),
        "07": ("class", "none"),
    }


def test_typos_and_contradictions_are_refused_by_row() -> None:
    """Nothing of such a row counts, and the message names what was meant or what contradicts."""
    rows = [
        Row("01", "cta", ()),
        Row("02", "dog", ("class:dgo",)),
        Row("03", "dog", ("cat",)),
        Row("04", "", ("unsure", "none")),
        Row("05", "cat", ()),
    ]
    answers, refused = interpret(rows, CLASSES)
    assert answers == {"05": ("class", "cat")}
    said = {entry.image_id: entry.why for entry in refused}
    assert "did you mean 'cat'?" in said["01"]
    assert "did you mean 'dog'?" in said["02"]
    assert said["03"].endswith("contradict each other: cat and dog")
    assert said["04"].endswith("contradict each other: none and unsure")
