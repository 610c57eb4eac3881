"""The report's sections on labels and classes: what flows where, and whether the net beats its own neighbours."""

from pathlib import Path
from typing import Any

import pytest

from tasks import files, flow_chart, report
from tasks.sections import evaluation, flow
from tasks.sections.material import Material
from tasks.stage import Stage
from tests import fabricated

COUNTS = {"kept": 10, "changed": 5, "gained": 5, "lost": 5, "never": 35}
POINTS = "coverage,confidence,precision,low,high,n\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _run(classes: list[str], rows: str, curve: str = "", **scores: Any) -> Material:
    """Two rounds, the second with these flows."""
    for round_, of in (("r1", ",ant,20,0,0\n,,40,0,0\n"), ("r2", rows)):
        fabricated.publish(
            files.scores(round_),
            flow__csv="before,after,n,known,right\n" + of,
            coverage__csv=POINTS + curve,
            coverage_held__csv=POINTS,
            confusion__csv="actual,predicted\n",
            per_class__csv="class,n,precision,recall,kept,label_precision\n",
        )
    stage = Stage("report", fabricated.settings(), report.PARAMS)
    of_round = {"flow": COUNTS, "classes": classes, "knn": None} | scores
    return Material(stage, ["r1", "r2"], ["digits"], dict.fromkeys(("r1", "r2"), of_round), {}, {})


def test_the_counts_of_a_round_add_up_to_the_pool() -> None:
    """All five words are there, and below them the pool."""
    found = flow.section(_run(["ant", "bee"], "ant,ant,15,0,0\n,,45,0,0\n"))
    assert [sum(numbers[i] for _, numbers in found["counts"]) for i in (0, 1)] == found["pool"] == [60, 60]


def test_the_diagram_holds_every_label_of_a_few_classes_and_none_of_many() -> None:
    """Up to 12 classes are drawn, from r1 to r2 with their numbers; of more the most frequent changes are listed."""
    rows = "ant,ant,11,0,0\nant,bee,7,6,3\nbee,ant,2,0,0\n,,40,0,0\n"
    found = flow.section(_run(["ant", "bee"], rows))
    for text in ("r1", "r2", "ant 18", "bee 2", "ant 13", "bee 7", "not learnt 40"):
        assert text in found["diagram"], text
    assert [(row["before"], row["after"]) for row in found["changes"]] == [("ant", "bee"), ("bee", "ant")]
    many = flow.section(_run([f"class {i}" for i in range(13)], rows))
    assert many["diagram"] is None
    html = report.render("t", {"flow": many})
    assert "50.0" in html  # 3 of 6 that are known are right now
    assert "not measured" in html.lower()  # of the 2 others, and of precision over coverage


def test_bands_are_as_high_as_they_hold_images_and_none_is_lost() -> None:
    """Every pair of labels is a band, every label a node in each column that has it."""
    svg = flow_chart.flow(["r1", "r2"], [{("ant", "bee"): 3, ("", "ant"): 1, ("", ""): 6}], ["ant", "bee"])
    assert svg.count("fill-opacity") + svg.count("opacity:") >= 3
    assert svg == flow_chart.flow(["r1", "r2"], [{("ant", "bee"): 3, ("", "ant"): 1, ("", ""): 6}], ["ant", "bee"])


def test_markup_in_a_class_name_stays_text() -> None:
    """A class called like an element or a formula is drawn as it is written."""
    svg = flow_chart.flow(["r1", "r2"], [{("<b>$x$", "<b>$x$"): 3}], ["<b>$x$"])
    assert "&lt;b&gt;$x$ 3" in svg
    assert "<b>" not in svg


def test_known_truth_gives_a_curve() -> None:
    """With hidden truth there is a figure, without it is said to be not measured."""
    curve = "0.5,0.9,1.0,0.8,1.0,9\n1.0,0.5,0.9,0.8,1,18\n"
    found = flow.section(_run(["ant"], ",,60,0,0\n", curve))
    assert found["truth"] is not None
    assert found["held"] is None
    assert "Not measured" in report.render("t", {"flow": flow.section(_run(["ant"], ",,60,0,0\n"))})


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("better", "Student r2 beats the reference, a vote of the 3 nearest of 50 labeled images"),
        ("within noise", "Student r2 does not beat the reference"),
        ("worse", "Student r2 is WORSE than the reference"),
    ],
)
def test_it_says_whether_the_net_beats_its_neighbours(verdict: str, said: str) -> None:
    """In words, by the paired comparison; without test images it says nothing about it."""
    gain = {"points": 1.0, "low": -1.0, "high": 3.0, "verdict": verdict, "p_value": 0.3, "gained": 5, "lost": 3}
    knn = {"accuracy": 0.8, "k": 3, "neighbours": 50, "left_out": 0.9, "gain": gain}
    found = evaluation.section(_run(["ant"], ",,60,0,0\n", knn=knn))
    assert said in found["knn"]
    assert evaluation.section(_run(["ant"], ",,60,0,0\n"))["knn"] is None
