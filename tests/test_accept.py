"""Calibration and target_precision through the stage: confidences, thresholds, reasons, and what people are told."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from tasks import accept, decisions, files, held
from tasks import curate as module
from tasks.errors import Held, UserError
from tasks.params import load
from tests import fabricated

CLASSES = ["ant", "bee", "cow"]
POOL = [f"{i:064x}" for i in range(9)]
SURE = [0.98, 0.9, 0.7]  # of each class three pool images
PROB = {
    i: np.roll([SURE[n // 3], (1 - SURE[n // 3]) * 0.6, (1 - SURE[n // 3]) * 0.4], n % 3) for n, i in enumerate(POOL)
}


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool of nine. Of the teacher's 150 held-out answers all 60 ants are right, 38 of 40 bees, 30 of 50 cows."""
    monkeypatch.chdir(tmp_path)
    fabricated.settings()
    fabricated.split(CLASSES, train={f"{10**6:064x}": "ant"}, pool=dict.fromkeys(POOL, "pool"), test={})
    prob = pa.array([PROB[i].astype(np.float32) for i in POOL], pa.list_(pa.float32(), 3))
    fabricated.publish(files.probs("r1"), **{"part-00000": pa.table({"image_id": POOL, "prob": prob})})
    fabricated.label_table("r0", dict.fromkeys(POOL, (None, 0.0, "unlabeled")))
    files.decisions("r1").parent.mkdir(parents=True)
    files.decisions("r1").write_text(",".join(decisions.HEADER) + "\n")
    answers, given = {}, {}
    for n in range(150):
        said, place = (0, n) if n < 60 else (1, n - 60) if n < 100 else (2, n - 100)
        right = place < [60, 38, 30][said]
        sure = [0.995 - place / 3000, 0.95 - place / 300, 0.6 - place / 300][said]
        answers[f"{1000 + n:064x}"] = np.roll([sure, (1 - sure) / 2, (1 - sure) / 2], said)
        given[f"{1000 + n:064x}"] = CLASSES[said if right else (said + 1) % 3]
    fabricated.answers("r0", CLASSES, answers, given)


def _curate(**change: Any) -> pd.DataFrame:
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    raw["split"]["calib"] = 150
    off = {"threshold": 0.5, "per_class": None, "labels": "hard", "temperature": 1.0, "max_share": 1.0}
    raw["rounds"]["r1"]["curate"] |= off | change
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    fabricated.run(module.curate, module.PARAMS, load(), "r1")
    return files.read_table(files.labels("r1") / "labels.parquet").to_pandas().set_index("image_id")


def _thresholds() -> dict[str, Any]:
    found: dict[str, Any] = files.read_json(files.labels("r1") / "thresholds.json")
    return found


@pytest.mark.parametrize("variant", ["temperature", "per_class"])
def test_the_confidence_of_the_table_is_the_calibrated_one(variant: str) -> None:
    """Each is what the calibration beside the weights makes of the stored probabilities."""
    before = _curate(calibration="none")
    found = held.calibration(files.champion("r0"), variant, 3)
    expected = found.apply(np.stack([PROB[i].astype(np.float32) for i in POOL]))
    after = _curate(calibration=variant)
    np.testing.assert_allclose(after.loc[POOL, "confidence"], expected.max(axis=1), rtol=2e-6)
    assert abs(after["confidence"] - before["confidence"]).max() > 0.001
    assert (found.bias_C != 0).any() == (variant == "per_class")
    assert _thresholds()["calibration"] == variant


def test_a_class_that_cannot_be_promised_waits_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Ants reach 0.95 and lose what is less sure than the surest right ones; bees and cows are left to review, and what

    they lack is said: bees more labels, cows a better teacher. People's labels pass all the same.
    """
    said = decisions.Decision(POOL[1], "accept", "", "bee", "ada", "2026-01-01T00:00:00Z", "")
    decisions.append(files.decisions("r1"), [said])
    table = _curate(target_precision=0.95)
    ants, bees, cows = POOL[::3], POOL[1::3], POOL[2::3]
    assert list(table.loc[ants, "reason"]) == ["kept", "low_confidence", "low_confidence"]
    assert list(table.loc[bees, "reason"]) == ["human_label", "below_promise", "below_promise"]
    assert list(table.loc[cows, "reason"]) == ["below_promise"] * 3
    assert (table.loc[table["reason"] == "below_promise", "copies"] == 0).all()
    found = _thresholds()
    assert (found["how"], found["target"], found["held_out"]) == ("target_precision", 0.95, 150)
    ant, bee, cow = (found["classes"][name] for name in CLASSES)
    assert (ant["n"], ant["right"], ant["reached"], ant["needed"]) == (60, 60, True, None)
    assert ant["threshold"] == pytest.approx(0.995 - 59 / 3000, abs=1e-6)
    assert 0.95 <= ant["low"] < ant["precision"] == 1
    assert (bee["n"], bee["right"], bee["threshold"], bee["reached"]) == (40, 38, None, False)
    assert bee["needed"] > 19
    assert (cow["n"], cow["right"]) == (50, 30)
    summary = files.read_json(files.metrics("curate@r1"))
    assert summary["unreachable_classes"] == 2
    assert sum(summary["reasons"].values()) == summary["pool"] == 9
    spoken = capsys.readouterr().out
    assert f"bee: 38 of 40 held-out images right; at least {bee['needed']} more" in spoken
    assert "2 of 3 classes do not reach 0.95: not learnt from (below_promise)" in spoken


def test_or_it_is_learnt_from_softly() -> None:
    """With `soft` its images from `threshold` on carry the teacher's distribution, while promised ones stay hard."""
    table = _curate(target_precision=0.95, unreachable="soft", threshold=0.8)
    assert list(table.loc[POOL[1::3], "reason"]) == ["kept_soft", "kept_soft", "low_confidence"]
    np.testing.assert_allclose(table.loc[POOL[1], "soft"], PROB[POOL[1]], rtol=1e-5)
    assert table.loc[POOL[0], "reason"] == "kept"
    assert table.loc[table["reason"] != "kept_soft", "soft"].isna().all()
    assert (table.loc[table["reason"] == "kept_soft", "copies"] == 1).all()
    assert _thresholds()["classes"]["bee"]["threshold"] == pytest.approx(0.8)


def test_a_plain_threshold_is_judged_too() -> None:
    """thresholds.json says how right held-out labels are from it on, with the bound; nothing is promised."""
    _curate(threshold=0.501)
    found = _thresholds()
    row = found["classes"]["cow"]
    passes = sum(0.6 - place / 300 >= 0.501 for place in range(50))
    assert (found["how"], found["target"], row["n"], row["right"]) == ("fixed", None, passes, passes)
    assert row["low"] == pytest.approx(0.05 ** (1 / passes), abs=1e-5)
    assert row["reached"] is None


def test_no_class_reaching_it_holds_the_round_and_no_labels_are_an_error() -> None:
    """Held names the target; without held-out answers the settings or the stage say what to set."""
    with pytest.raises(Held, match=r"no class reaches rounds\.r1\.curate\.target_precision = 0\.99"):
        _curate(target_precision=0.99)
    fabricated.answers("r0", CLASSES, {}, {})
    with pytest.raises(UserError, match=r"(?s)target_precision needs labels.*split\.calib"):
        _curate(target_precision=0.9)
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    raw["split"]["calib"] = 0
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    with pytest.raises(UserError, match=r"rounds\.r1\.curate\.target_precision: 0\.9 needs labels.*calibrate\.folds"):
        load()


@pytest.mark.parametrize(("held_out", "promised"), [(accept.ENOUGH - 1, False), (accept.ENOUGH, True)])
def test_few_held_out_images_promise_nothing(held_out: int, promised: bool) -> None:
    """However right they all are: the temperature was fitted on the same few. The log says how many it takes."""
    all_ants_K, sure_K = np.zeros(held_out, np.int64), np.full(held_out, 0.99, np.float32)
    judged = accept.Judged(all_ants_K, sure_K.view(np.int32), sure_K, all_ants_K)
    settings = load().rounds["r1"].curate.model_copy(update={"target_precision": 0.9})
    asked = accept.ask(settings, judged, ["ant"], "r1")
    assert asked.missed_C.tolist() == [not promised]
    said = accept.say(accept.report(asked, settings, judged, np.asarray(asked.threshold), ["ant"]), "curate@r1")
    assert ("  nothing is promised on fewer than 100 held-out images; there are 99" in said) == (not promised)
