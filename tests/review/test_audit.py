"""A blind audit through a real mongod: what is shown, what comes back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tasks import audit_card, audit_sample, audits, files
from tasks.errors import UserError
from tasks.review import audit, blind
from tests.review.conftest import CLASSES, Workspace, publish_labels, read_labels


@pytest.fixture
def project(fo: Any, workspace: Workspace) -> Iterator[Workspace]:
    """The workspace with the database at hand; its audits are gone afterwards."""
    yield workspace
    for name in fo.list_datasets("understudy-audit-*"):
        fo.delete_dataset(name)


def _key(who: str) -> audit.Key:
    """What lies behind the one audit of the label table of now."""
    [key] = [key for key in audit._keys("r1", who) if key.table == audit_sample.table_hash("r1")]
    return key


def _name(fo: Any, who: str, label_of: dict[str, str], tags: dict[str, str] | None = None) -> None:
    """Answers by the pictures' names, as a person gives them."""
    data = fo.load_dataset(_key(who).data_set)
    path = {Path(p).stem: p for p in data.values("filepath")}
    values = {path[name]: fo.Classification(label=label) for name, label in label_of.items()}
    data.set_values("answer", values, key_field="filepath")
    for name, tag in (tags or {}).items():
        data.match({"filepath": path[name]}).tag_samples(tag)


def test_what_is_shown_betrays_nothing(fo: Any, project: Workspace) -> None:
    """The pictures are the sample and the planted images, shuffled for each person; the data set holds no label, id,
    path, round or confidence, and every picture has the same form."""
    shown = audit.build("r1", 12, "Ada", project.settings)
    key = _key("Ada")
    table = read_labels("r1").set_index("image_id")
    drawn = {i: label for i, label, truth in key.items.values() if not truth}
    planted = [item for item in key.items.values() if item[2]]
    assert set(drawn) <= set(table.index[table["copies"] > 0])
    assert drawn == table["label"].loc[list(drawn)].to_dict()
    assert (shown.images, shown.planted, shown.reused) == (len(drawn) + 1, 1, False)
    assert all(label != truth and i not in table.index for i, label, truth in planted)

    data = fo.load_dataset(shown.name)
    outside = {"id", "filepath", "tags", "metadata", "created_at", "last_modified_at"}
    assert set(data.get_field_schema()) == outside | {"answer"}
    text = json.dumps([sample.to_mongo_dict() for sample in data], default=str) + json.dumps(data.info) + shown.name
    betraying = [*(i for i, _, _ in key.items.values()), *CLASSES, "r1", "confidence", "pool/", "kept", "planted"]
    assert [word for word in betraying if word in text.replace(str(project.folder), "")] == []
    assert [Path(path).stem for path in data.values("filepath")] == list(key.items)
    for path in data.values("filepath"):
        with Image.open(path) as picture:
            assert (picture.format, dict(picture.info)) == ("PNG", {})
    assert audit.build("r1", 12, "Ada", project.settings).reused

    audit.build("r1", 12, "Bob", project.settings)
    bob = _key("Bob")
    assert sorted(map(tuple, bob.items.values())) == sorted(map(tuple, key.items.values()))
    assert list(bob.items.values()) != list(key.items.values()), "an order of his own"


def test_answers_come_back_once_and_belong_to_their_table(fo: Any, project: Workspace) -> None:
    """Two people's answers are rows, a typo is refused, a second sync adds none; of a changed table a new sample is
    drawn, and what was said of the old one is kept but not counted."""
    shown = audit.build("r1", 12, "Ada", project.settings)
    audit.build("r1", 12, "Bob", project.settings)
    key, bob = _key("Ada"), _key("Bob")
    names = list(key.items)
    right = {name: item[2] or item[1] for name, item in key.items.items()}
    wrong = next(c for c in CLASSES if c != right[names[1]])
    labels = right | {names[1]: wrong, names[2]: "forg"}
    unsure = next(name for name in names[3:] if not key.items[name][2])
    del labels[unsure]
    _name(fo, "Ada", labels, {unsure: "unsure"})
    first = audit.sync("r1", "Ada")
    assert (first.new, first.named, first.of) == (len(names) - 1, len(names) - 1, len(names))
    assert [entry.image_id for entry in first.refused] == [names[2]]
    assert "did you mean 'frog'?" in str(first)
    ledger = files.AUDIT.read_bytes()
    assert audit.sync("r1", "Ada").new == 0
    assert files.AUDIT.read_bytes() == ledger
    _name(fo, "Bob", {name: item[2] or item[1] for name, item in bob.items.items()})
    assert audit.sync("r1", "Bob").new == len(names)
    assert files.AUDIT.read_bytes().startswith(ledger)
    assert {row.who for row in audits.read()} == {"Ada", "Bob"}

    publish_labels("r1", read_labels("r1").assign(confidence=0.9))
    again = audit.build("r1", 12, "Ada", project.settings)
    assert (again.reused, again.older) == (False, 1)
    assert "the label table has changed" in str(again)
    now = audit_sample.table_hash("r1")
    rows = files.read_table(files.labels("r1") / "labels.parquet")
    card = audit_card.card("r1", rows, now, audits.read(), project.settings.seed, 0.9)
    assert (card["measured"], card["older"]) == (False, 1)
    assert audit.sync("r1", "Ada").older == (shown.name,)


def test_answers_are_not_lost_with_the_pictures(fo: Any, project: Workspace) -> None:
    """.work may be deleted at any time: the same audit is not made anew before its answers are in the ledger."""
    shown = audit.build("r1", 5, "Ada", project.settings)
    key = _key("Ada")
    fo.load_dataset(shown.name).limit(1).tag_samples("unsure")
    for path in (audit.HOME / key.code).iterdir():
        path.unlink()
    with pytest.raises(UserError, match="in no ledger yet"):
        audit.build("r1", 5, "Ada", project.settings)
    audit.sync("r1", "Ada")
    assert not audit.build("r1", 5, "Ada", project.settings).reused
    assert blind.find(fo, shown.name) is not None


def test_what_cannot_be_audited_says_why(project: Workspace) -> None:
    """No such round, no accepted label, no audit to sync, no name."""
    with pytest.raises(UserError, match="no round of params"):
        audit.build("r9", 5, "Ada", project.settings)
    with pytest.raises(UserError, match="needs a name"):
        audit.sync("r1", " ")
    with pytest.raises(UserError, match="no audit of r1 by Ada"):
        audit.sync("r1", "Ada")
    publish_labels("r1", read_labels("r1").assign(copies=0))
    with pytest.raises(UserError, match="is accepted"):
        audit.build("r1", 5, "Ada", project.settings)
