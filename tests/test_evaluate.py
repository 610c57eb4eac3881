"""The evaluation: scores image by image, leaks, and what was not measured."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks import evaluate as module
from tasks import files
from tasks.core.compare import exact_low
from tasks.core.metrics import wilson
from tasks.core.predict import predict
from tasks.errors import Integrity
from tasks.held import HELD
from tasks.held import table as held_table
from tasks.images.store import Images
from tasks.models import build_from, parameters, save_model
from tasks.nets.features import seen_by
from tests import fabricated

CLASSES = ["ant", "bee", "cow"]


class Case:
    """60 images: 6 labeled, 20 pool, 24 test, 10 gate; three untrained nets."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.settings = fabricated.settings()
        ids = fabricated.images(60)
        self.train = {i: CLASSES[n % 3] for n, i in enumerate(ids[:6])}
        self.pool, self.test, self.gate = ids[6:26], ids[26:50], ids[50:]
        # Of three labeled images that the teacher did not learn from it was right about the two it was surest of.
        prob_NC = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.3, 0.3, 0.4]], np.float32)
        held = held_table(ids[3:6], ["ant", "bee", "ant"], [0, 1, 2], prob_NC)
        for seed, key in enumerate(("baseline", "r0", "r1")):
            torch.manual_seed(seed)
            card = {"net": "wrn10", "width": 1, "dropout": 0.0, "stochastic_depth": 0.0, "channels": 1}
            card |= {"classes": CLASSES, "size": 8, "steps": 10 + (key == "r0"), "key": key}
            net = build_from(card).eval()
            save_model(_staged(), net, card | {"parameters": parameters(net)})
            files.write_table(held, _staged() / HELD)
            files.seal(_staged(), {"stage": "made"})
            files.move_into_place(_staged(), files.champion(key) if key == "r0" else files.model(key))
            if key == "r1":
                self.student = net

    def said(self, ids: list[str]) -> dict[str, str]:
        """What the student says of images."""
        image_NCHW = Images(files.IMAGES).load(ids, self.settings.image)
        return {i: CLASSES[int(c)] for i, c in zip(ids, predict(self.student, image_NCHW, 7).argmax(1), strict=True)}

    def run(self, weight: list[float] | None = None, **split: Any) -> dict[str, Any]:
        """Publish split and labels (made with these weights of classes), evaluate, and return the summary."""
        pool = dict.fromkeys(self.pool, "pool")
        fabricated.split(CLASSES, **({"train": self.train, "pool": pool, "test": {}} | split))
        rows: dict[str, tuple[str | None, float, str]] = dict.fromkeys(self.pool[:10], ("ant", 0.9, "kept"))
        rows |= dict.fromkeys(self.pool[10:12], ("bee", 1.0, "human_label"))
        rows |= dict.fromkeys(self.pool[12:], ("cow", 0.3, "low_confidence"))
        earlier: dict[str, tuple[str | None, float, str]] = dict.fromkeys(self.pool[5:9], ("ant", 0.9, "kept"))
        earlier |= dict.fromkeys(self.pool[9:14], ("cow", 0.9, "kept"))
        left = dict.fromkeys({*self.pool} - earlier.keys(), (None, 0.1, "low_confidence"))
        fabricated.label_table("r0", earlier | left)
        fabricated.label_table("r1", rows, weight)
        fabricated.run(module.evaluate, module.PARAMS, self.settings, "r1")
        summary: dict[str, Any] = files.read_json(files.metrics("evaluate@r1"))
        return summary


def _staged() -> Path:
    path = files.WORK / "net"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _rows(name: str) -> list[dict[str, str]]:
    with (files.scores("r1") / f"{name}.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.chdir(tmp_path)
    return Case()


def test_scores_are_those_of_the_student_image_by_image(case: Case) -> None:
    """With truth planted so that the student errs on 3 of 24, accuracy, confusion and predictions say so."""
    said = case.said(case.test)
    wrong = set(case.test[5:8])
    test = {i: CLASSES[(CLASSES.index(c) + (i in wrong)) % 3] for i, c in said.items()}
    summary = case.run(test=test, gate=case.said(case.gate))
    assert summary["test"]["n"] == 24
    assert summary["test"]["student"]["accuracy"] == pytest.approx(21 / 24, abs=1e-6)
    assert summary["test"]["student"]["low"] < 21 / 24 < summary["test"]["student"]["high"]
    assert summary["gate"]["student"]["accuracy"] == 1
    pairs = [(row["actual"], row["predicted"]) for row in _rows("confusion")]
    assert pairs == [(test[i], said[i]) for i in sorted(test)]
    table = files.read_table(files.scores("r1") / "predictions.parquet").to_pydict()
    gained = sum(s == t != b for s, t, b in zip(table["student"], table["label"], table["teacher"], strict=True))
    assert summary["test"]["gain_over_teacher"]["gained"] == gained
    assert sum(int(row["n"]) for row in _rows("reliability")) == 24
    assert summary["equal_budget"] is True
    assert summary["budget"]["teacher"]["steps"] == 11


def test_what_is_not_there_is_not_measured(case: Case) -> None:
    """Without test, gate and truth the numbers are null, never 0, and the tables are empty but for their header."""
    summary = case.run()
    assert (summary["test"], summary["gate"]) == (None, None)
    labels = summary["labels"]
    assert (labels["precision"], labels["precision_low"], labels["precision_n"]) == (None, None, 0)
    assert (labels["pool"], labels["kept"], labels["human"], labels["coverage"]) == (20, 12, 2, 0.6)
    assert (files.scores("r1") / "confusion.csv").read_text() == "actual,predicted\n"
    rows = _rows("per_class")
    assert [(row["class"], row["n"], row["recall"], row["kept"]) for row in rows] == [
        ("ant", "0", "", "10"),
        ("bee", "0", "", "2"),
        ("cow", "0", "", "0"),
    ]


def test_precision_counts_only_labels_whose_truth_is_known(case: Case) -> None:
    """8 of 12 learnt labels have a truth, 6 are right: 75 %, with an exact lower bound; refused labels do not count."""
    truth = dict.fromkeys(case.pool[:6], "ant") | dict.fromkeys(case.pool[8:10], "cow")
    truth |= dict.fromkeys(case.pool[12:], "cow")
    labels = case.run(truth=truth)["labels"]
    assert (labels["precision"], labels["precision_n"]) == (0.75, 8)
    assert labels["precision_low"] == pytest.approx(exact_low(6, 8), abs=1e-6)


@pytest.mark.parametrize("place", ["the pool", "the labeled images"])
def test_a_leaked_test_image_stops_with_its_id(case: Case, place: str) -> None:
    """A test image that is also pool or training data is an integrity error (exit 5) that names it; nothing appears."""
    leaked = case.pool[3] if place == "the pool" else min(case.train)
    with pytest.raises(Integrity, match=leaked) as error:
        case.run(test={leaked: "ant"})
    assert error.value.exit_code == 5
    assert place in error.value.what
    assert not files.scores("r1").exists()


def test_a_pool_image_marked_held_out_is_no_leak(case: Case) -> None:
    """The split may leave a test image in the pool's table when its status says that nobody learns from it."""
    status = dict.fromkeys(case.pool, "pool") | {case.test[0]: "held_out"}
    assert case.run(pool=status, test={case.test[0]: "ant"})["test"]["n"] == 1


def test_a_net_with_other_classes_is_refused(case: Case) -> None:
    """The order of the classes is part of a net: a split with another one is an integrity error."""
    CLASSES.reverse()
    try:
        with pytest.raises(Integrity, match="knows the classes"):
            case.run()
    finally:
        CLASSES.reverse()


def test_every_class_has_its_intervals(case: Case) -> None:
    """Recall and precision by class are those of the confusion matrix, with Wilson's intervals, in CSV and metrics."""
    said = case.said(case.test)
    test = {i: CLASSES[n % 3] for n, i in enumerate(case.test)}
    summary = case.run(test=test)
    for row in _rows("per_class"):
        of_class = [i for i in test if test[i] == row["class"]]
        hits = sum(said[i] == row["class"] for i in of_class)
        assert float(row["recall"]) == pytest.approx(hits / len(of_class), abs=1e-6)
        found = (float(row["recall_low"]), float(row["recall_high"]))
        assert found == pytest.approx(wilson(hits, len(of_class)), abs=1e-6)
        assert summary["per_class"][row["class"]]["recall"] == pytest.approx(hits / len(of_class), abs=1e-6)
        never_said = row["class"] not in said.values()
        assert (row["precision"] == "", row["precision_low"] == "") == (never_said, never_said)
    ece = summary["test"]["student"]
    assert ece["ece_low"] <= ece["ece"] <= ece["ece_high"]


def test_the_flow_counts_every_pool_image_once(case: Case) -> None:
    """Between r0 (4 ants, 5 cows) and r1 (10 ants, 2 bees): kept, changed, gained, lost and never add up to 20."""
    truth = dict.fromkeys(case.pool[:9], "ant")
    flow = case.run(truth=truth)["flow"]
    assert flow == {"kept": 4, "changed": 3, "gained": 5, "lost": 2, "never": 6}
    rows = {(row["before"], row["after"]): row for row in _rows("flow")}
    assert {pair: int(row["n"]) for pair, row in rows.items()} == {
        ("", ""): 6,
        ("", "ant"): 5,
        ("ant", "ant"): 4,
        ("cow", ""): 2,
        ("cow", "ant"): 1,
        ("cow", "bee"): 2,
    }
    assert (rows["ant", "ant"]["known"], rows["ant", "ant"]["right"], rows["cow", "bee"]["known"]) == ("4", "4", "0")
    assert {row["change"]: int(row["n"]) for row in _rows("changes")} == flow


def test_the_coverage_curve_takes_the_surest_labels_first(case: Case) -> None:
    """Of the teacher's labels with a truth, learnt or not, the kept ones come first; people's labels do not count."""
    truth = dict.fromkeys([*case.pool[:10], *case.pool[10:14]], "ant")
    case.run(truth=truth)
    rows = [(float(row["confidence"]), int(row["n"]), float(row["precision"])) for row in _rows("coverage")]
    assert rows == [(pytest.approx(0.9), 10, 1.0), (pytest.approx(0.3), 12, pytest.approx(10 / 12, abs=1e-6))]
    held = [(float(row["coverage"]), float(row["precision"])) for row in _rows("coverage_held")]
    np.testing.assert_allclose(held, [(1 / 3, 1), (2 / 3, 1), (1, 2 / 3)], atol=1e-6)


def test_held_out_labels_are_read_as_the_label_table_reads_the_pool(case: Case) -> None:
    """Cows weighted ten times: the wrong one is now surer (0.3, 0.3, 4 of 4.6) than the right bee, and comes second."""
    case.run(weight=[1.0, 1.0, 10.0])
    held = [(float(row["confidence"]), float(row["precision"])) for row in _rows("coverage_held")]
    np.testing.assert_allclose(held, [(0.9, 1), (4 / 4.6, 1 / 2), (0.8, 2 / 3)], atol=1e-6)


def test_the_neighbours_vote_with_the_students_features(case: Case) -> None:
    """The reference is k-NN among the 6 labeled images in the student's features, by hand; without test it is null."""
    test = {i: CLASSES[n % 3] for n, i in enumerate(case.test)}
    found = case.run(test=test)["knn"]
    ids = sorted(case.train)
    with seen_by(case.student) as seen:
        predict(case.student, Images(files.IMAGES).load([*ids, *sorted(test)], case.settings.image), 100)
        feature = torch.nn.functional.normalize(seen.features_BD, dim=1)
    similar = feature[6:] @ feature[:6].T
    votes = [[case.train[ids[int(n)]] for n in row.topk(found["k"]).indices] for row in similar]
    said = [min(CLASSES, key=lambda name: (-vote.count(name), name)) for vote in votes]
    assert found["accuracy"] == pytest.approx(np.mean([s == test[i] for s, i in zip(said, sorted(test), strict=True)]))
    assert (found["neighbours"], set(found["gain"])) == (6, {*found["gain"]} | {"verdict", "points"})
    assert case.run()["knn"] is None
