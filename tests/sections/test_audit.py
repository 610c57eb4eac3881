"""The audit card on the page: what was measured, what was not, and nothing in between."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks import audit_sample, audits, files, report
from tasks.audits import Said
from tasks.sections import audit
from tasks.sections.material import LABEL_COLUMNS, Material
from tasks.stage import Stage
from tests import fabricated

CLASSES = ["ant", "<b>bee"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _page() -> str:
    """A round of 80 accepted labels, as the section shows it."""
    if not files.labels("r1").exists():
        rows: dict[str, tuple[str | None, float, str]] = {
            f"{n:064x}": (CLASSES[n % 2], n / 80, "kept") for n in range(80)
        }
        fabricated.label_table("r1", rows)
    table = files.read_table(files.labels("r1") / "labels.parquet", LABEL_COLUMNS)
    stage = Stage("report", fabricated.settings(), report.PARAMS)
    run = Material(stage, ["r1"], ["digits"], {}, {"r1": table}, {})
    return report.render("t", {"audit": audit.section(run)}).split('<section id="audit">')[1]


def _said(table: str = "") -> list[Said]:
    """Everybody right but the first draw, and one of two planted images caught."""
    hash_ = audit_sample.table_hash("r1")
    labels = audit_sample.accepted(files.read_table(files.labels("r1") / "labels.parquet"))
    sample = audit_sample.draw(labels, 40, (0, "r1", hash_, 40))
    label_of = dict(zip(sample.image_id_M, sample.label_M, strict=True))
    rows = [Said("r1", hash_, 40, i, label, "", "class", label, "<i>Ada", "now") for i, label in label_of.items()]
    rows[0] = replace(rows[0], action="none", answer="")
    planted = Said("r1", hash_, 40, "f" * 64, "ant", "<b>bee", "class", "<b>bee", "<i>Ada", "now")
    rows += [planted, replace(planted, image_id="e" * 64, answer="ant")]
    return [replace(row, table=table or hash_) for row in rows]


def test_without_an_audit_nothing_is_measured() -> None:
    """Neither with an empty ledger nor with an audit of another table; the command that measures is named."""
    for _ in range(2):
        page = _page()
        assert "not measured" in page
        assert "understudy audit --round r1" in page
        assert "catch rate" not in page
        audits.append(_said(table="cd" * 32))
    assert "an audit of an older label table" in _page()


def test_a_card_says_who_looked_and_how_sure_it_is() -> None:
    """Draws, wrong ones, the reviewer's catch rate and every class; names of people and classes stay text."""
    _page()
    audits.append(_said())
    page = _page()
    assert "not measured" not in page
    assert "of 2 planted images with a wrong label 1 were named as what they are (catch rate 50.0" in page
    assert "&lt;i&gt;Ada: 42 answers" in page
    assert page.count("&lt;b&gt;bee") >= 1
    assert "<b>bee" not in page
    assert "<td>40</td>" in page
    assert "42 images named so far" in page
