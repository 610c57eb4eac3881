"""The results table from data/metrics."""

import json
from pathlib import Path

import pytest

from flows import results
from tasks.errors import Integrity


def _write(root: Path, name: str, value: object) -> None:
    path = root / results.METRICS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def test_tables_hold_accuracy_and_labels_round_by_round(tmp_path: Path) -> None:
    """r10 comes after r2, an interval is shown where there is one, and nothing is invented."""
    _write(tmp_path, "curate-r2", {"reasons": {"kept": 3, "low_confidence": 1}})
    test = {"n": 400, "student": {"accuracy": 0.95, "low": 0.93, "high": 0.97}, "baseline": {"accuracy": 0.9}}
    _write(tmp_path, "evaluate-r10", {"test": test, "labels": {"coverage": 0.75, "precision": None}})
    assert results.tables(tmp_path) == {
        "accuracy": [{"round": "r10", "student": "0.950 (0.930-0.970)", "supervised only": "0.900", "images": 400}],
        "labels": [{"round": "r2", "kept": 3, "low confidence": 1}, {"round": "r10", "of the pool": "75.0%"}],
    }


def test_no_metrics_no_tables(tmp_path: Path) -> None:
    """A fresh project has nothing to show, and an unsealed test (null) is no number."""
    assert results.tables(tmp_path) == {}
    _write(tmp_path, "evaluate-r1", {"test": None, "labels": {}})
    assert results.tables(tmp_path) == {}


def test_damaged_metrics_are_named(tmp_path: Path) -> None:
    """Half a JSON file is an integrity error with its path."""
    (tmp_path / results.METRICS).mkdir(parents=True)
    (tmp_path / results.METRICS / "curate-r1.json").write_text('{"kept"')
    with pytest.raises(Integrity, match=r"curate-r1\.json"):
        results.tables(tmp_path)


def test_a_round_taken_out_of_the_settings_is_shown_no_more(tmp_path: Path) -> None:
    """Its metrics stay on disk, for DVC removes no outputs of a stage that is gone."""
    for round_ in ("r1", "r2"):
        _write(tmp_path, f"curate-{round_}", {"reasons": {"kept": 3}})
    (tmp_path / "params.yaml").write_text("rounds:\n  r1: {}\n")
    assert results.tables(tmp_path) == {"labels": [{"round": "r1", "kept": 3}]}
    assert any("review --round r1" in line for line in results.next_steps(tmp_path))
