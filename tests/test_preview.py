"""The preview of curation: what it counts, whom it asks, and that it changes nothing."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from tasks import curate as module
from tasks import decisions, files
from tasks.errors import UserError
from tasks.params import load
from tasks.preview import NO_LABELS, NOT_HONEST, SAME_LABELS, preview
from tests import fabricated

CLASSES = ["ant", "bee", "cow"]
TRUTH = [0, 0, 1, 2, 1, 0, 2, 1]
SURE = [0.99, 0.96, 0.92, 0.85, 0.75, 0.65, 0.55, 0.45]  # how sure the teacher is of class n % 3


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """14 images: 8 of the pool with stored probabilities and hidden truth, 6 for the gate. One was rejected."""
    monkeypatch.chdir(tmp_path)
    fabricated.settings()
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    raw["rounds"]["r1"]["curate"] |= {"threshold": 0.72, "per_class": None, "max_share": 1.0}
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    ids = fabricated.images(14)
    _split(ids, gate={})
    prob = [np.roll([sure, (1 - sure) / 2, (1 - sure) / 2], n % 3) for n, sure in enumerate(SURE)]
    table = pa.table({"image_id": ids[:8], "prob": pa.array(prob, pa.list_(pa.float32(), 3))})
    fabricated.publish(files.probs("r1"), **{"part-00000": table})
    fabricated.answers("r0", CLASSES, {}, {})
    fabricated.label_table("r0", dict.fromkeys(ids[:8], (None, 0.0, "unlabeled")))
    said = decisions.Decision(ids[1], "reject", "", "", "ada", "2026-01-01T00:00:00Z", "")
    decisions.append(files.decisions("r1"), [said])
    return ids


def test_the_chosen_row_is_what_the_stage_does(ids: list[str]) -> None:
    """Counts at the threshold of params.yaml are those of `curate`; every file under data/ keeps its bytes."""
    before = _bytes()
    found = preview(load(), "r1", truth=False)
    assert _bytes() == before
    fabricated.run(module.curate, module.PARAMS, load(), "r1")
    summary = files.read_json(files.metrics("curate@r1"))
    (chosen,) = (row for row in found.rows if row["chosen"])
    assert (chosen["threshold"], chosen["kept"], chosen["shown"]) == (0.72, summary["kept"], summary["copies"])
    assert (chosen["smallest"], chosen["largest"]) == (1, 2)
    assert [row["kept"] for row in found.rows] == sorted((row["kept"] for row in found.rows), reverse=True)
    assert found.plot.read_bytes().startswith(b"\x89PNG")
    assert found.notes == [NO_LABELS]
    assert "precision" not in chosen


def test_hidden_truth_only_on_an_explicit_wish_and_with_a_warning(ids: list[str]) -> None:
    """With --truth precision is that of the kept labels, counted by hand; the warning comes first."""
    found = preview(load(), "r1", truth=True)
    assert found.notes[0] == NOT_HONEST
    for row in found.rows:
        kept = [n for n in range(8) if np.float32(SURE[n]) >= np.float32(row["threshold"]) and n != 1]
        assert (row["kept"], row["judged"]) == (len(kept), len(kept))
        assert row["precision"] == pytest.approx(sum(n % 3 == TRUTH[n] for n in kept) / len(kept))


def test_held_out_labels_are_judged_by_what_the_teacher_said_of_them(ids: list[str]) -> None:
    """Precision is that of the stored answers that pass; the gate set is not looked at."""
    _split(ids, gate=dict.fromkeys(ids[8:10], "ant"))
    sure = [0.99, 0.8, 0.65, 0.4]
    prob = {i: [p, 0.6 * (1 - p), 0.4 * (1 - p)] for i, p in zip(ids[10:], sure, strict=True)}
    right = [True, False, True, True]
    given = {i: "ant" if yes else "bee" for i, yes in zip(ids[10:], right, strict=True)}
    fabricated.answers("r0", CLASSES, prob, given)
    found = preview(load(), "r1", truth=False)
    for row in found.rows:
        passes = [yes for p, yes in zip(sure, right, strict=True) if np.float32(p) >= np.float32(row["threshold"])]
        assert row["judged"] == len(passes)
        assert row["precision"] == (pytest.approx(sum(passes) / len(passes)) if passes else None)
    assert found.rows[0]["judged"] == 4


def test_where_a_precision_is_wanted_the_grid_is_one_of_targets(ids: list[str]) -> None:
    """100 right answers of ants show 95 % and no 98 %; a higher target never keeps more, and the own one is marked."""
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    raw["rounds"]["r1"]["curate"] |= {"target_precision": 0.95, "threshold": 0.3}
    raw["split"]["calib"] = 100
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    answers = {f"{n:064x}": [0.6 + n / 1000, 0.3, 0.1 - n / 1000] for n in range(100)}
    fabricated.answers("r0", CLASSES, answers, dict.fromkeys(answers, "ant"))
    found = preview(load(), "r1", truth=False)
    assert [(row["target"], row["kept"]) for row in found.rows] == [(0.8, 2), (0.9, 2), (0.95, 2), (0.98, 0), (0.99, 0)]
    assert [row["target"] for row in found.rows if row["chosen"]] == [0.95]
    assert SAME_LABELS in found.notes
    assert [row["promised"] for row in found.rows] == [1, 1, 1, 0, 0]
    raw["rounds"]["r1"]["curate"]["unreachable"] = "soft"
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    soft = preview(load(), "r1", truth=False)
    assert soft.rows[-1]["kept"] > 0, "kept without any promise"
    assert [row["promised"] for row in soft.rows] == [1, 1, 1, 0, 0]
    assert any("classes without a promise" in note for note in soft.notes)


def test_before_there_is_anything_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is named, and the command that makes it."""
    monkeypatch.chdir(tmp_path)
    settings = fabricated.settings()
    with pytest.raises(UserError, match=r"data/split does not exist yet\n  fix: dvc repro label@r1"):
        preview(settings, "r1", truth=False)
    with pytest.raises(UserError, match="no round 'r9'; known: r1, r2"):
        preview(settings, "r9", truth=False)


def _split(ids: list[str], gate: dict[str, str]) -> None:
    truth = {i: CLASSES[c] for i, c in zip(ids[:8], TRUTH, strict=True)}
    pool = dict.fromkeys(ids[:8], "pool")
    fabricated.split(CLASSES, train={f"{99:064x}": "ant"}, pool=pool, test={}, gate=gate, truth=truth)


def _bytes() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(Path("data").rglob("*")) if path.is_file()}
