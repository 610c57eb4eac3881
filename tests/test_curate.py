"""The curate stage: one reason for every pool image, people over teachers, nothing learnt from nothing."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from tasks import beliefs, decisions, files
from tasks import curate as module
from tasks.errors import Held, UserError
from tasks.params import load
from tests import fabricated
from tests.core import slow_curation

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
    fabricated.answers("r0", CLASSES, {}, {})
    files.decisions("r1").parent.mkdir(parents=True)
    files.decisions("r1").write_text(",".join(decisions.HEADER) + "\n")


def _curate(previous: dict[str, tuple[str | None, float, str]] = NOTHING, **change: Any) -> pd.DataFrame:
    """The label table of r1, by image_id."""
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    wanted = {"threshold": 0.5, "per_class": None, "labels": "soft", "temperature": 1.0, "max_share": 1.0}
    raw["rounds"]["r1"]["curate"] |= wanted | change
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
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


def test_without_a_stated_share_two_of_three_may_go_to_one_class() -> None:
    """null means halfway between an even share and all: 67 % of three classes. Half passes, everything does not."""
    assert (_curate(max_share=None, threshold=0.9)["copies"] > 0).sum() == 2
    with pytest.raises(Held, match=r"100%.*'ant'.*max_share allows 67%"):
        _curate(max_share=None, threshold=0.95)


@pytest.mark.parametrize(
    "change",
    [
        {"per_class": "mean", "max_copies": 3},
        {"per_class": 20, "max_copies": 4, "labels": "hard"},
        {"per_class": None, "temperature": 0.7},
    ],
    ids=str,
)
def test_blocks_and_parts_give_what_the_first_version_gave(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 images in four parts, read 7 at a time, with ties and decisions: the table that the sort in memory made, to

    the bit as long as no temperature is applied, which is done in float32 now.
    """
    near = 0.0 if change.get("temperature", 1.0) == 1.0 else 1e-6
    pool, prob_NC = _large_pool()
    monkeypatch.setattr(beliefs.Beliefs, "rows", 7)
    ours = [i for i, status in pool.items() if status == "pool"]
    _say((ours[3], "relabel", "cow"), (ours[4], "reject", ""), (ours[250], "accept", "ant"))
    table = _curate(dict.fromkeys(pool, (None, 0.0, "unlabeled")), **change)
    assert list(table.index) == sorted(pool)

    human_N = np.full(len(ours), -1)
    human_N[[3, 4, 250]] = 2, -2, 0
    policy = {"threshold": 0.5, "per_class": None, "max_copies": 4, "labels": "soft", "temperature": 1.0}
    slow = slow_curation.curate(prob_NC, human_N, **(policy | change))  # type: ignore[arg-type]
    table_N = table.loc[ours]
    assert list(table_N["reason"]) == [slow_curation.REASONS[r] for r in slow.reason_N]
    assert np.array_equal(table_N["copies"], slow.copies_N)
    np.testing.assert_allclose(table_N["confidence"].to_numpy(np.float32), slow.confidence_N, rtol=0, atol=near)
    known = table_N["reason"] != "human_rejected"
    assert list(table_N["label"][known]) == [CLASSES[c] for c in slow.label_N[known]]
    learnt = (table_N["reason"] == "kept") & (change.get("labels") != "hard")
    assert np.array_equal(table_N["soft"].notna(), learnt)
    if learnt.any():
        np.testing.assert_allclose(np.stack(table_N["soft"][learnt]), slow.target_NC[learnt], rtol=0, atol=near)
    others = table.drop(index=ours)
    assert list(others["reason"]) == [pool[i] for i in others.index]
    assert (others["copies"] == 0).all()
    assert others["label"].isna().all()


@pytest.mark.parametrize("lost", ["probability", "pool image"])
def test_other_images_than_the_pool_are_refused(lost: str) -> None:
    """A missing probability and one too many are mistakes of ours, never joined by position."""
    pool, prob_NC = _large_pool()
    ids = [i for i, status in pool.items() if status == "pool"]
    if lost == "probability":
        _publish_probs(ids[:-1], prob_NC[:-1])
    else:
        _publish_probs([*ids, f"{999:064x}"], np.vstack([prob_NC, prob_NC[:1]]))
    with pytest.raises(AssertionError, match=r"data/probs/r1 (does not hold exactly|holds more than) the pool"):
        _curate(dict.fromkeys(pool, (None, 0.0, "unlabeled")))


def test_a_source_cap_is_a_reason() -> None:
    """At most four of each source: the most confident ones; the rest of those that passed are at the cap."""
    _publish_pool_with_sources()
    table = _curate(threshold=0.7, source_cap=4.0).loc[POOL[:10]]
    assert list(table["reason"]) == [*["kept"] * 4, *["source_cap"] * 3, *["low_confidence"] * 3]
    with pytest.raises(Held, match=r"source_cap = 0\.4 leaves nothing"):
        _curate(threshold=0.7, source_cap=0.4)


def test_a_prior_of_other_classes_is_refused() -> None:
    """The class without a share, or the share without a class, is named with the key."""
    with pytest.raises(UserError, match=r"rounds\.r1\.curate\.align: 'cow' has no share"):
        _curate(align={"ant": 0.5, "bee": 0.5})
    with pytest.raises(UserError, match=r"align: 'dog' is no class"):
        _curate(align={"ant": 0.5, "bee": 0.2, "cow": 0.2, "dog": 0.1})


@pytest.mark.parametrize("align", ["uniform", "labeled", "estimated", {"ant": 1.0, "bee": 2.0, "cow": 1.0}], ids=str)
def test_alignment_moves_the_soft_labels(align: Any) -> None:
    """Each soft label is the teacher's, reweighted and normalised: ratios of classes move by one factor for all."""
    fabricated.split(CLASSES, train={f"{90 + n:064x}": c for n, c in enumerate(CLASSES)}, pool=STATUS, test={})
    soft = np.stack(_curate(threshold=0.0, align=align)["soft"].dropna())
    moved_NC = soft / np.stack([PROB[i] for i in POOL[:10]])
    factor_NC = moved_NC / moved_NC[:, :1]
    np.testing.assert_allclose(factor_NC, np.tile(factor_NC[:1], (10, 1)), rtol=1e-4)
    assert not np.allclose(factor_NC[0], 1, atol=0.05)


def _large_pool() -> tuple[dict[str, str], np.ndarray]:
    """Status of 330 pool images by id, 300 of them `pool`, and published probabilities of these with many ties."""
    rng = np.random.default_rng(3)
    ids = sorted(f"{int(n):064x}" for n in rng.choice(10**6, 330, replace=False))
    out = dict(zip(rng.choice(ids, 30, replace=False), ["held_out", "duplicate"] * 15, strict=True))
    pool = {i: str(out.get(i, "pool")) for i in ids}
    weight_NC = rng.integers(1, 4, (300, 3)).astype(np.float32) ** rng.integers(1, 5, (300, 1))
    prob_NC = (weight_NC / weight_NC.sum(axis=1, keepdims=True)).astype(np.float32)
    fabricated.split(CLASSES, train={f"{10**7:064x}": "ant"}, pool=pool, test={})
    _publish_probs([i for i in ids if pool[i] == "pool"], prob_NC)
    return pool, prob_NC


def _publish_probs(ids: list[str], prob_NC: np.ndarray) -> None:
    prob = pa.FixedSizeListArray.from_arrays(pa.array(prob_NC.ravel(), pa.float32()), prob_NC.shape[1])
    table = pa.table({"image_id": ids, "prob": prob})
    cuts = [0, 100, 101, 250, len(ids)]
    parts = {f"part-{n:05d}": table.slice(a, b - a) for n, (a, b) in enumerate(itertools.pairwise(cuts))}
    fabricated.publish(files.probs("r1"), **parts)


def _publish_pool_with_sources() -> None:
    pool = pa.table({"image_id": POOL, "status": [STATUS[i] for i in POOL], "source": ["web"] * 12})
    labeled = fabricated.labeled({f"{99:064x}": "ant"})
    fabricated.publish(files.SPLIT, classes=CLASSES, labeled=labeled, pool=pool)


def test_where_people_disagree_neither_wins_and_later_rounds_know() -> None:
    """The image is not learnt from, with a reason of its own, in this round and the next; one more word settles it."""
    row = decisions.Decision(POOL[0], "relabel", "", "cow", "Ada", "2026-01-01T00:00:00Z", "")
    decisions.append(files.decisions("r1"), [row, replace(row, who="Bob", new="bee")])
    earlier = NOTHING | {POOL[1]: (None, 0.0, "human_conflict"), POOL[2]: (None, 0.0, "human_conflict")}
    _say((POOL[2], "relabel", "ant"))
    table = _curate(earlier)
    for image_id in POOL[:2]:
        assert tuple(table.loc[image_id, ["reason", "copies", "source"]]) == ("human_conflict", 0, "human")
    assert table.loc[POOL[:2], "label"].isna().all()
    assert (table.loc[POOL[2], "reason"], table.loc[POOL[2], "label"]) == ("human_label", "ant")
    assert files.read_json(files.metrics("curate@r1"))["reasons"]["human_conflict"] == 2
    _say((POOL[0], "relabel", "ant"))
    assert _curate(earlier).loc[POOL[0], "label"] == "ant"
