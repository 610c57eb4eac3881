"""The curate stage: one reason for every pool image, people over teachers, nothing learnt from nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from tasks import curate as module
from tasks import decisions, files
from tasks.errors import Held, UserError
from tasks.params import load
from tests import fabricated

CLASSES = ["ant", "bee", "cow"]
POOL = [f"{i:064x}" for i in range(12)]
STATUS = dict.fromkeys(POOL[:10], "pool") | {POOL[10]: "held_out", POOL[11]: "duplicate"}
# The teacher is sure of ants, less so of bees and cows.
PROB = {i: np.roll([0.96 - 0.04 * n, 0.03 + 0.03 * n, 0.01 + 0.01 * n], n % 3) for n, i in enumerate(POOL[:10])}
NOTHING: dict[str, tuple[str | None, float, str]] = dict.fromkeys(POOL, (None, 0.0, "unlabeled"))


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Split, probabilities of r1 and an empty ledger, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    fabricated.settings()
    fabricated.split(CLASSES, train={f"{99:064x}": "ant"}, pool=STATUS, test={})
    prob = pa.array([PROB[i].astype(np.float32) for i in POOL[:10]], pa.list_(pa.float32(), 3))
    fabricated.publish(files.probs("r1"), **{"part-00000": pa.table({"image_id": POOL[:10], "prob": prob})})
    files.decisions("r1").parent.mkdir(parents=True)
    files.decisions("r1").write_text(",".join(decisions.HEADER) + "\n")


def _curate(previous: dict[str, tuple[str | None, float, str]] = NOTHING, **change: Any) -> pd.DataFrame:
    """The label table of r1, by image_id."""
    raw = yaml.safe_load(Path("params.yaml").read_text())
    wanted = {"threshold": 0.5, "per_class": None, "labels": "soft", "temperature": 1.0, "max_share": 1.0}
    raw["rounds"]["r1"]["curate"] |= wanted | change
    Path("params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    fabricated.label_table("r0", previous)
    fabricated.run(module.curate, module.PARAMS, load(), "r1")
    return files.read_table(files.labels("r1") / "labels.parquet").to_pandas().set_index("image_id")


def _say(*rows: tuple[str, str, str]) -> None:
    """Decisions on r1: image_id, action, new label."""
    decisions.append(
        files.decisions("r1"),
        [decisions.Decision(i, action, "", new, "ada", "2026-01-01T00:00:00Z", "") for i, action, new in rows],
    )


def test_every_pool_image_has_one_reason_and_the_split_has_its_say() -> None:
    """Counts per reason add up to the pool, held-out and duplicate images included, and only kept ones are learnt."""
    table = _curate(threshold=0.79)
    assert list(table.index) == POOL
    assert table.loc[POOL[10], "reason"] == "held_out"
    assert table.loc[POOL[11], "reason"] == "duplicate"
    sure = [i for i in POOL[:10] if PROB[i].max() >= 0.79]
    assert list(table.index[table["copies"] > 0]) == sure
    assert set(table.loc[sure, "reason"]) == {"kept"}
    summary = files.read_json(files.metrics("curate@r1"))
    assert sum(summary["reasons"].values()) == summary["pool"] == len(POOL)


def test_soft_labels_are_the_teachers_distribution_and_hard_ones_are_none() -> None:
    """A soft row holds what the teacher said; a hard table holds class names alone."""
    soft = _curate()["soft"]
    np.testing.assert_allclose(soft[POOL[4]], PROB[POOL[4]], rtol=1e-5)
    assert _curate(labels="hard")["soft"].isna().all()


def test_people_overrule_the_teacher_and_an_undo_returns_to_it() -> None:
    """relabel, accept and reject hold whatever the confidence; undo and older rounds yield to what was said last."""
    earlier = NOTHING | {
        POOL[3]: ("cow", 1.0, "human_label"),
        POOL[4]: (None, 0.0, "human_rejected"),
        POOL[5]: ("bee", 1.0, "human_label"),
    }
    _say((POOL[0], "relabel", "cow"), (POOL[1], "reject", ""), (POOL[2], "accept", "bee"), (POOL[5], "undo", ""))
    table = _curate(earlier, threshold=0.99)
    assert list(table.loc[POOL[:6], "reason"]) == [
        "human_label",
        "human_rejected",
        "human_label",
        "human_label",
        "human_rejected",
        "low_confidence",
    ]
    assert list(table.loc[[POOL[0], POOL[2], POOL[3]], "label"]) == ["cow", "bee", "cow"]
    assert (table.loc[[POOL[0], POOL[2], POOL[3]], "copies"] == 1).all()
    assert (table.loc[[POOL[1], POOL[4]], "copies"] == 0).all()
    assert set(table.loc[POOL[:5], "source"]) == {"human"}


def test_a_decision_about_a_foreign_image_is_counted_not_guessed() -> None:
    """It changes no row and stands in the summary."""
    before = _curate()
    _say(("f" * 64, "relabel", "cow"))
    pd.testing.assert_frame_equal(_curate(), before)
    assert files.read_json(files.metrics("curate@r1"))["unknown_decisions"] == 1


def test_a_class_that_does_not_exist_names_file_line_and_nearest() -> None:
    """A typo in the ledger stops the stage."""
    _say((POOL[0], "relabel", "bees"))
    with pytest.raises(UserError, match=r"r1\.csv.*bees.*bee"):
        _curate()


def test_nothing_accepted_says_which_threshold_would() -> None:
    """Held, with the thresholds that would keep 10, 50 and 90 %."""
    with pytest.raises(Held, match=r"(?s)threshold = 0\.99.*0\.960 would keep 10%") as caught:
        _curate(threshold=0.99)
    assert caught.value.exit_code == 4


def test_one_class_taking_everything_is_held_unless_allowed() -> None:
    """The share, the limit and the key are named."""
    with pytest.raises(Held, match=r"'ant'.*max_share allows 20%"):
        _curate(max_share=0.2)
    assert (_curate(max_share=1.0)["copies"] > 0).any()
