"""The sections of the report: a study over seeds, the gate's word, surprising images, many classes."""

import re
from pathlib import Path
from typing import Any

import pytest

from tasks import decisions, figures, files, report, studies
from tests import fabricated
from tests.reported import TITLE, Page, make


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _again() -> str:
    """The report of the artefacts that are there, written once more."""
    fabricated.run(report.report, report.PARAMS, fabricated.settings(title=TITLE))
    return (files.REPORT / "report.html").read_text(encoding="utf-8")


def _study(r2: float) -> None:
    """A study of three seeds that has the accuracies of `make` for seed 0, but `r2` for the last student."""
    seeds = range(3)
    accuracy = {net: {seed: 0.9 + seed / 100 for seed in seeds} for net in ("baseline", "r0", "r1")}
    accuracy["r2"] = {seed: r2 + seed * 0.015 for seed in seeds}
    study = studies.Study(accuracy, {3: "error [held]: <b>held"}, dict.fromkeys(seeds, 6))
    studies.write(files.SEEDS, study, dict.fromkeys(range(4), "seeds-x"))


def test_a_study_of_this_run_is_in_the_verdict() -> None:
    """Mean and std, the paired difference, called noise here, and the seed that did not end, all from the ledger."""
    make(["ant", "bee"])
    _study(0.9)
    text = Page(_again()).text
    assert "No proven gain: over 3 seeds student r2 and supervised-only training are within noise." in text
    assert "Over 3 seeds student r2 is +0.5 points from supervised-only training on average" in text
    assert re.search(r"student r2 − supervised-only\s*\+0\.5\s*−0\.7 to \+1\.7\s*within noise", text)  # noqa: RUF001
    assert "91.0\N{NO-BREAK SPACE}% ± 1.0" in text
    assert "Seed 3 did not end: error [held]: <b>held" in text
    assert "not of the run on this page" not in text


def test_a_study_of_another_run_is_called_that() -> None:
    """Where its row of this run's seed has other numbers, the study stands under a warning and not in the verdict."""
    make(["ant", "bee"])
    assert "understudy seeds --n 5" in Page(_again()).text
    _study(0.95)
    text = Page(_again()).text
    assert "not of the run on this page" in text
    assert "Over 3 seeds student r2" not in text
    assert "Self-training helped: student r2" in text


def _decision(round_: str, champion: str, *, promoted: bool) -> dict[str, Any]:
    """What gate@rK writes where nothing was measured, or a person overruled it."""
    rules = {"verdict": "not_measured", "rules": ["not_measured"], "n": 0, "by": "gate", "stop": False, "settings": {}}
    return {"round": round_, "before": "r0", "promoted": promoted, "champion": champion, "holds": 0} | rules


def test_the_gates_word_stands_on_the_scoreboard() -> None:
    """A held student is marked held; the net that labels next is marked champion, be it not the last student."""
    make(["ant", "bee"])
    for round_, promoted, champion in (("r1", True, "r1"), ("r2", False, "r1")):
        made = _decision(round_, champion, promoted=promoted)
        fabricated.publish(files.champion(round_), decision=made)
    text = Page(_again()).text
    assert "Student r1 is the champion, of which this verdict speaks" in text
    assert "student r1 beats supervised-only" in text
    board = text.split("NLL")[-2]
    assert re.search(r"student r1 champion\s.*student r2 held\s", board, flags=re.DOTALL)
    made = _decision("r2", "r0", promoted=False)
    fabricated.publish(files.champion("r2"), decision=made)
    text = Page(_again()).text
    assert "Teacher r0 is the champion: no student passed the gate" in text
    assert "Self-training helped" not in text


def test_runs_are_whole_numbers_on_the_chart() -> None:
    """The second run alone is one tick: not 1.95 runs."""
    chart = figures.lines("drift", [("r1", 2, [(2, 0.3)])], "run", "labels that changed, %")
    across = chart[: chart.index(">run<")]
    assert re.findall(r">([0-9.]+)</text>", across) == ["2"]


def test_the_numbers_under_a_verdict_are_those_of_the_net_in_use() -> None:
    """No student passed: the first teacher's accuracy stands under its name, not the held student's."""
    make(["ant", "bee"])
    found = files.read_json(files.scores("r1") / "scores.json")
    found["test"]["teacher"] = found["test"]["teacher"] | {"accuracy": 0.711}
    rest = {p.stem: p.read_text() for p in files.scores("r1").glob("*.csv")}
    predictions = files.read_table(files.scores("r1") / "predictions.parquet")
    fabricated.publish(
        files.scores("r1"),
        scores=found,
        predictions=predictions,
        **{f"{name}__csv": text for name, text in rest.items()},
    )
    for round_ in ("r1", "r2"):
        fabricated.publish(files.champion(round_), decision=_decision(round_, "r0", promoted=False))
    text = Page(_again()).text
    top = text[text.index("Teacher r0 is the champion") : text.index("What follows speaks of the last student")]
    assert "71.1" in top
    assert "pool images learnt from" not in top


def test_surprising_images_are_those_the_artefacts_name() -> None:
    """Labels that moved between rounds, what a person changed, and test images lost: each image under its title."""
    make(["ant", "bee", "cow"])
    before = files.read_table(files.labels("r1") / "labels.parquet").to_pylist()
    rows = {row["image_id"]: (row["label"], row["confidence"], row["reason"]) for row in before}
    moved, changed = [i for i, row in rows.items() if row[2] == "kept" and row[0] == "ant"][:2]
    rows[moved] = ("bee", 0.5, "kept")
    fabricated.label_table("r1", rows)
    said = decisions.Decision(changed, "relabel", "ant", "cow", "ada", "2026-01-01T00:00:00Z", "")
    decisions.append(files.decisions("r1"), [said])
    predictions = files.read_table(files.scores("r2") / "predictions.parquet").to_pylist()
    test = predictions[0]["image_id"]
    predictions[0]["student"] = "bee"
    kept = {p.stem: p.read_text() for p in files.scores("r2").glob("*.csv")}
    fabricated.publish(
        files.scores("r2"),
        scores=files.read_json(files.scores("r2") / "scores.json"),
        predictions=fabricated.pa.Table.from_pylist(predictions),
        **{f"{name}__csv": text for name, text in kept.items()},
    )
    images = _again().split('<section id="images">')[1].split("</section>")[0]
    parts = {part.split("</h3>")[0]: part for part in images.split('<h3 class="sub">')[1:]}
    for title, image_id, note in (
        ("Labels that moved", moved, "was bee"),
        ("People against the teacher", changed, "teacher: ant"),
        ("Lost by self-training", test, "student: bee"),
    ):
        assert re.findall(r'title="(\w{64})"', parts[title]) == [image_id], title
        assert note in parts[title]
    assert "All nets against the label" not in parts


def test_a_thousand_classes_stay_readable() -> None:
    """Of many classes both ends are listed: those found least often first, and it says where all are."""
    names = [f"class {i:04d}" for i in range(1000)]
    make(names)
    header, *_ = (files.scores("r2") / "per_class.csv").read_text().splitlines()
    kept = {p.stem: p.read_text() for p in files.scores("r2").glob("*.csv") if p.stem != "per_class"}
    rows = [f"{name},5,0.5,{i / 1000},{i},\n" for i, name in enumerate(names)]
    fabricated.publish(
        files.scores("r2"),
        scores=files.read_json(files.scores("r2") / "scores.json"),
        predictions=files.read_table(files.scores("r2") / "predictions.parquet"),
        per_class__csv=header + "\n" + "".join(rows),
        **{f"{name}__csv": text for name, text in kept.items()},
    )
    html = _again()
    listed = re.findall(r"class (\d{4})</span></th>", html)
    assert listed == [f"{i:04d}" for i in (*range(10), *range(990, 1000))]
    assert len(html) < 500_000


def test_settings_are_those_the_artefacts_record() -> None:
    """A setting on the page comes from the commit records of the artefacts; a ledger with rows is there by its hash."""
    make(["ant", "bee"])
    record = files.read_json(files.labels("r2") / files.MANIFEST)
    files.write_json(
        record | {"params": {"rounds.r2.curate": {"threshold": 0.123}}}, files.labels("r2") / files.MANIFEST
    )
    _study(0.9)
    text = Page(_again()).text
    assert re.search(r"rounds\.r2\.curate\.threshold\s*0\.123\s", text)
    assert re.search(rf"{files.SEEDS} 13 rows\s*{files.sha256_file(files.SEEDS)}", text)
