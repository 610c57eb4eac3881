"""The preview of curation: what it counts, whom it asks, and that it changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml

from tasks import curate as module
from tasks import decisions, files
from tasks.core.predict import predict
from tasks.errors import UserError
from tasks.images.store import Images
from tasks.models import build_from, save_model
from tasks.params import load
from tasks.preview import NO_LABELS, NOT_HONEST, preview
from tests import fabricated

CLASSES = ["ant", "bee", "cow"]
TRUTH = [0, 0, 1, 2, 1, 0, 2, 1]
SURE = [0.99, 0.96, 0.92, 0.85, 0.75, 0.65, 0.55, 0.45]  # how sure the teacher is of class n % 3


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """14 images: 8 of the pool with stored probabilities and hidden truth, 6 for the gate. One was rejected."""
    monkeypatch.chdir(tmp_path)
    fabricated.settings()
    raw = yaml.safe_load(Path("params.yaml").read_text())
    raw["rounds"]["r1"]["curate"] |= {"threshold": 0.72, "per_class": None, "max_share": 1.0}
    Path("params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    ids = fabricated.images(14)
    _split(ids, gate={})
    prob = [np.roll([sure, (1 - sure) / 2, (1 - sure) / 2], n % 3) for n, sure in enumerate(SURE)]
    table = pa.table({"image_id": ids[:8], "prob": pa.array(prob, pa.list_(pa.float32(), 3))})
    fabricated.publish(files.probs("r1"), **{"part-00000": table})
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


def test_held_out_labels_are_judged_by_the_rounds_teacher(ids: list[str]) -> None:
    """Precision on gate images is the teacher's own among those that pass, as its net says now."""
    torch.manual_seed(0)
    card: dict[str, Any] = {"net": "wrn10", "width": 1, "dropout": 0.0, "stochastic_depth": 0.0, "channels": 1}
    net = build_from(card | {"classes": CLASSES}).eval()
    staged = files.WORK / "net"
    staged.mkdir(parents=True)
    save_model(staged, net, card | {"classes": CLASSES})
    files.seal(staged, {"stage": "made"})
    files.move_into_place(staged, files.model("r0"))
    gate = {i: CLASSES[n % 2] for n, i in enumerate(ids[8:])}
    _split(ids, gate)
    prob_KC = predict(net, Images(files.IMAGES).load(list(gate), load().image), 512).numpy()
    right = prob_KC.argmax(axis=1) == [CLASSES.index(name) for name in gate.values()]
    found = preview(load(), "r1", truth=False)
    for row in found.rows:
        passes = prob_KC.max(axis=1) >= np.float32(row["threshold"])
        assert row["judged"] == passes.sum()
        assert row["precision"] == (pytest.approx(right[passes].mean()) if passes.any() else None)
    assert found.rows[0]["judged"] == 6


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
