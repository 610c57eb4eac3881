"""The ledger of audits and the card made of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tasks import audit_card, audit_sample, audits, files
from tasks.audits import Said
from tasks.errors import UserError
from tests import fabricated

CLASSES = ["ant", "bee", "cow"]
TABLE, SEED = "ab" * 32, 0


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _labels(kept: int = 240) -> pa.Table:
    """Accepted labels of three classes, and as many that an audit must never ask about."""
    rows: dict[str, tuple[str | None, float, str]] = {
        f"{n:064x}": (CLASSES[n % 3], n / kept, "kept") for n in range(kept)
    }
    rows |= {f"{kept + n:064x}": (CLASSES[n % 3], 0.1, "low_confidence") for n in range(kept)}
    rows |= {f"{2 * kept + n:064x}": (CLASSES[n % 3], 0.9, "human_label") for n in range(kept)}
    fabricated.label_table("r1", rows)
    return files.read_table(files.labels("r1") / "labels.parquet")


def _row(image_id: str, label: str, answer: str, **other: Any) -> Said:
    action = "class" if answer in CLASSES else answer
    said = answer if answer in CLASSES else ""
    row = Said("r1", TABLE, 60, image_id, label, "", action, said, "Ada", "2026-01-01T00:00:00+00:00")
    return replace(row, **other)


def _sample(labels: pa.Table) -> list[tuple[str, str]]:
    sample = audit_sample.draw(audit_sample.accepted(labels), 60, (SEED, "r1", TABLE, 60))
    return list(dict(zip(sample.image_id_M, sample.label_M, strict=True)).items())


def _card(labels: pa.Table, said: list[Said]) -> dict[str, Any]:
    return audit_card.card("r1", labels, TABLE, said, SEED, 0.7)


def test_only_labels_that_are_learnt_from_and_nobody_gave_are_drawn() -> None:
    """The same seed draws the same sample, another table another one; refused and human labels never stand in it."""
    labels = _labels()
    accepted = audit_sample.accepted(labels)
    assert accepted.num_rows == 240
    first, again = (audit_sample.draw(accepted, 60, (0, "r1", TABLE, 60)).image_id_M for _ in range(2))
    assert first == again
    assert set(first) <= {f"{n:064x}" for n in range(240)}
    assert first != audit_sample.draw(accepted, 60, (0, "r1", "cd" * 32, 60)).image_id_M


def test_planted_labels_are_wrong() -> None:
    """Images of known class, each with another class as its label; no second class, nothing to plant."""
    known = fabricated.labeled({f"{n:064x}": CLASSES[n % 3] for n in range(30)})
    planted = audit_sample.plant(known, CLASSES, 10, (1,))
    truth = dict(zip(*known.to_pydict().values(), strict=True))
    assert len({image_id for image_id, _, _ in planted}) == 10
    assert all(truth[i] == real and label in set(CLASSES) - {real} for i, label, real in planted)
    assert audit_sample.plant(known, CLASSES, 99, (1,)).__len__() == 30
    assert audit_sample.plant(known, ["ant"], 5, (1,)) == []


def test_the_ledger_keeps_what_is_new_and_names_bad_lines() -> None:
    """A repeated answer adds nothing, a second thought is a row; another header, action or answer names its line."""
    row = _row("a" * 64, "ant", "bee")
    assert audits.append([row]) == 1
    assert audits.append([replace(row, when="later")]) == 0
    assert audits.append([replace(row, answer="cow", when="later"), replace(row, who="Bob")]) == 2
    assert [(r.answer, r.who) for r in audits.read()] == [("bee", "Ada"), ("cow", "Ada"), ("bee", "Bob")]
    assert audits.spent(audits.read()) == 1
    good = files.AUDIT.read_text()
    for bad in (
        "r1,t,many,i,ant,,class,bee,Ada,now",
        "r1,t,6,i,ant,,klass,bee,Ada,now",
        "r1,t,6,i,ant,,none,bee,Ada,n",
    ):
        files.AUDIT.write_text(good + bad + "\n")
        with pytest.raises(UserError, match=r"audit\.csv, line 5"):
            audits.read()


def test_nobody_looked_means_not_measured() -> None:
    """No answer, an answer about another table, or only unsure ones: no precision is stated."""
    labels = _labels()
    image_id, label = _sample(labels)[0]
    assert _card(labels, [])["measured"] is False
    older = _card(labels, [_row(image_id, label, label, table="cd" * 32)])
    assert (older["measured"], older["older"]) == (False, 1)
    assert _card(labels, [_row(image_id, label, "unsure")])["measured"] is False


def test_the_card_counts_what_people_said() -> None:
    """Right, wrong, none of the classes, unsure, disputed and unanswered add up to the draws; nothing else counts."""
    labels = _labels()
    sample = _sample(labels)
    other = {name: CLASSES[CLASSES.index(name) - 1] for name in CLASSES}
    said = [_row(i, label, label) for i, label in sample[6:]]
    (wrong, w), (none, x), (unsure, u), (disputed, d), (silent, _), (settled, e) = sample[:6]
    said += [_row(wrong, w, w), _row(wrong, w, other[w]), _row(none, x, "none"), _row(unsure, u, "unsure")]
    said += [_row(disputed, d, d), _row(disputed, d, other[d], who="Bob")]
    said += [_row(settled, e, "unsure", who="Bob"), _row(settled, e, e)]
    said += [_row("f" * 64, "ant", "bee"), _row(silent, "ant", "bee", n=30)]
    card = _card(labels, said)
    image_of = audit_sample.draw(audit_sample.accepted(labels), 60, (SEED, "r1", TABLE, 60)).image_id_M
    times = {i: image_of.count(i) for i, _ in sample}
    assert card["n"] == 60 == sum(card["states"].values())
    assert card["states"]["wrong"] == times[wrong] + times[none]
    assert card["states"]["unsure"] == times[unsure]
    assert card["states"]["disputed"] == times[disputed]
    assert card["states"]["unanswered"] == times[silent]
    found = card["overall"]
    assert found["low"] < found["at_least"] < found["share"] < found["high"]
    assert [row["class"] for row in card["classes"]] == CLASSES
    assert sum(row["n"] for row in card["classes"]) == 60
    assert all(row["low"] <= row["share"] <= row["high"] for row in card["classes"])


def test_the_reviewer_is_measured_by_planted_images() -> None:
    """Caught is named as what it is; the wrong label, unsure and a third class are not; precision does not see them."""
    labels = _labels()
    truth = [_row(f"{900 + n:064x}", "ant", "bee", truth="bee") for n in range(7)]
    truth += [_row(f"{910:064x}", "ant", "ant", truth="bee"), _row(f"{911:064x}", "ant", "cow", truth="bee")]
    truth += [_row(f"{912:064x}", "ant", "unsure", truth="bee")]
    right = [_row(i, label, label) for i, label in _sample(labels)]
    card = _card(labels, right + truth)
    [person] = card["reviewers"]
    assert (person["planted"], person["caught"], person["fooled"]) == (10, 7, 1)
    assert person["share"] == 0.7
    assert person["low"] == pytest.approx(0.3475, abs=1e-4)  # Clopper and Pearson, 7 of 10
    assert card["overall"]["share"] == 1.0
    assert all(row["shown"] for row in card["classes"])  # 20 of 20 each, Holm over three, against 0.7


def test_the_estimate_weighs_classes_by_what_is_accepted() -> None:
    """Two thirds at 0.9, a third at 0.6; a class without held-out images leaves nothing to say, nor do none at all."""
    labels = _labels()
    rows = {name: {"n": 10, "right": 9, "precision": 0.9, "low": 0.6} for name in CLASSES}
    rows["cow"] |= {"right": 6, "precision": 0.6}
    found = audit_card.estimate({"held_out": 40, "classes": rows}, labels)
    assert found is not None
    assert found["share"] == pytest.approx(0.8)
    rows["bee"] |= {"n": 0, "right": 0, "precision": None}
    found = audit_card.estimate({"held_out": 40, "classes": rows}, labels)
    assert found is not None
    assert found["share"] is None
    assert audit_card.estimate({"held_out": 0, "classes": rows}, labels) is None
    assert audit_card.estimate(None, labels) is None
