"""The drift stage: a pool that is not what the labels are of trains no student, and what moved is told from what did
not. Fabricated outputs: a net that knows its classes is sure of most images, and of foreign ones it is not."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from tasks import drift as module
from tasks import files
from tasks.errors import Held, Integrity
from tasks.params import load
from tests import fabricated

CLASSES = ["ant", "bee", "cow"]
Prob = dict[str, np.ndarray]
FOREIGN = 0.8


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder with the project's settings."""
    monkeypatch.chdir(tmp_path)
    fabricated.settings()


def _ids(first: int, count: int) -> list[str]:
    return [f"{i:064x}" for i in range(first, first + count)]


def _outputs(ids: list[str], seed: int, sure: float = 3.5, share: Any = None) -> Prob:
    """Outputs of images of all classes, or of the classes' `share`; foreign images are less `sure`."""
    rng = np.random.default_rng(seed)
    label_N = rng.choice(len(CLASSES), len(ids), p=share)
    logit_NC = rng.normal(0, 0.6, (len(ids), len(CLASSES)))
    logit_NC[np.arange(len(ids)), label_N] += rng.normal(sure, 0.8, len(ids))
    prob_NC = np.exp(logit_NC)
    return dict(zip(ids, (prob_NC / prob_NC.sum(axis=1, keepdims=True)).astype(np.float32), strict=True))


def _write(prob: Prob, source_of: dict[str, str] | None = None, held: Prob | None = None, fold: int = -1) -> None:
    """The artefacts of a round whose labels are the best classes; all above 0.6 are accepted."""
    for folder in (files.SPLIT, files.SEALED, files.probs("r1"), files.labels("r1"), files.champion("r0")):
        shutil.rmtree(folder, ignore_errors=True)
    ids = sorted(prob)
    fabricated.split(CLASSES, train={}, pool=dict.fromkeys(ids, "pool"), test={}, source_of=source_of)
    column = pa.array([prob[i] for i in ids], pa.list_(pa.float32(), len(CLASSES)))
    fabricated.publish(files.probs("r1"), **{"part-00000": pa.table({"image_id": ids, "prob": column})})
    rows = {
        i: (CLASSES[p.argmax()], float(p.max()), "kept" if p.max() > 0.6 else "low_confidence") for i, p in prob.items()
    }
    fabricated.label_table("r1", rows)
    for name in {*(source_of or {}).values(), "digits"}:
        origin = pa.array(["labeled"] if name == "digits" else [], pa.string())
        shutil.rmtree(files.catalog(name), ignore_errors=True)
        fabricated.publish(files.catalog(name), labels=pa.table({"origin": origin}))
    raw = yaml.safe_load(Path("params.yaml").read_text())
    raw["sources"] |= dict.fromkeys((source_of or {}).values(), raw["sources"]["digits"])
    Path("params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    given = held or {}
    columns = {
        "image_id": pa.array(sorted(given), pa.string()),
        "label": pa.array(["ant"] * len(given), pa.string()),
        "fold": pa.array([fold] * len(given), pa.int32()),
        "prob": pa.array([given[i] for i in sorted(given)], pa.list_(pa.float32())),
    }
    fabricated.publish(files.champion("r0"), weights__safetensors=b"w", card={"key": "r0"}, held=pa.table(columns))


def _drift(**change: Any) -> dict[str, Any]:
    """Run the stage; what it found."""
    raw = yaml.safe_load(Path("params.yaml").read_text())
    raw["drift"] |= change
    Path("params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    fabricated.run(module.drift, module.PARAMS, load(), "r1")
    return dict(files.read_json(files.drift("r1") / "drift.json"))


def _history() -> list[dict[str, Any]]:
    return list(files.read_json(files.drift("r1") / "history.json"))


def _content() -> dict[str, str]:
    return {p.name: files.sha256_file(p) for p in files.drift("r1").iterdir()}


HELD = _outputs(_ids(90_000, 300), 1)
POOL = _outputs(_ids(0, 600), 2)


def test_a_pool_like_the_labels_passes_whatever_its_mix_of_classes() -> None:
    """Balanced labels and a pool skewed 10 to 1 are no drift; every group is listed with its numbers."""
    _write(POOL, held=HELD)
    assert _drift()["alarms"] == []
    _write(_outputs(_ids(0, 600), 3, share=[10 / 12, 1 / 12, 1 / 12]), held=HELD)
    shutil.rmtree(files.drift("r1"))
    (found,) = _drift()["shifts"]
    assert (found["foreign"], found["images"], found["reference"]) == (None, 600, 300)


def test_half_of_the_pool_from_elsewhere_holds_and_nothing_is_published() -> None:
    """Exit 4 says how much looks foreign; the student finds no cleared labels."""
    half = _outputs(_ids(1000, 600), 4, sure=FOREIGN)
    _write(POOL | half, held=HELD)
    with pytest.raises(Held, match=r"at least \d\d% of the pool \(1,200 images\) look foreign") as held:
        _drift()
    assert held.value.exit_code == 4
    assert not files.drift("r1").exists()


def test_a_small_foreign_source_is_named() -> None:
    """A twentieth of the pool is too little to see in the whole, and plain where its source is looked at."""
    few = _outputs(_ids(1000, 30), 4, sure=FOREIGN)
    _write(POOL | few, dict.fromkeys(few, "web"), held=HELD)
    with pytest.raises(Held, match=r"of the source 'web' \(30 images\).*\n.*\n.*take 'web' out of sources") as held:
        _drift()
    assert "of the pool" not in held.value.what


def test_report_goes_on_and_keeps_the_alarm() -> None:
    """`drift.action: report`: the alarm stands in the artefact and in the history, and the labels are cleared."""
    _write(POOL | _outputs(_ids(1000, 600), 4, sure=FOREIGN), held=HELD)
    assert [alarm["what"] for alarm in _drift(action="report")["alarms"]] == ["shift"]
    assert _history()[-1]["alarms"] == ["shift"]
    cleared = files.read_json(files.drift("r1") / "cleared.json")
    assert cleared == {"labels": files.manifest_hash(files.labels("r1"))}


def test_a_cross_fitted_reference_is_not_believed_to_be_as_sure_as_the_teacher() -> None:
    """Nets of fewer labels are less sure: the same numbers are an alarm from a calibration split and none from them,
    and a pool that is less sure than even they are is one."""
    _write(POOL, held=_outputs(sorted(HELD), 5, sure=2.7), fold=0)
    assert _drift()["alarms"] == []
    _write(POOL, held=_outputs(sorted(HELD), 5, sure=2.7))
    with pytest.raises(Held):
        _drift()
    _write(POOL | _outputs(_ids(1000, 600), 4, sure=FOREIGN), held=HELD, fold=2)
    with pytest.raises(Held):
        _drift()


def test_without_a_reference_a_first_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """No held-out predictions and no earlier run: nothing is compared, nothing is claimed."""
    _write(_outputs(_ids(0, 600), 4, sure=FOREIGN))
    assert _drift()["shifts"] == []
    assert "nothing to compare the pool with yet" in capsys.readouterr().out


def test_a_source_without_labels_is_compared_with_the_pool_of_those_that_have_some() -> None:
    """No held-out prediction is needed to name it; a source of the same kind passes."""
    same, other = _outputs(_ids(1000, 60), 6, share=[0.6, 0.3, 0.1]), _outputs(_ids(2000, 60), 7, sure=FOREIGN)
    _write(POOL | same, dict.fromkeys(same, "phone"))
    assert _drift()["alarms"] == []
    _write(POOL | same | other, dict.fromkeys(same, "phone") | dict.fromkeys(other, "web"))
    with pytest.raises(
        Held, match=r"of the source 'web' .* compared with 600 pool images of sources that bring"
    ) as held:
        _drift()
    assert "phone" not in held.value.what


def test_new_images_are_compared_with_those_of_the_run_before() -> None:
    """No labels are needed: a foreign source that joins is named; more of the same passes, and so does another mix."""
    _write(POOL)
    _drift()
    _write(POOL | _outputs(_ids(1000, 200), 6, share=[0.8, 0.1, 0.1]))
    found = _drift()
    assert (found["relabel"]["new"], found["relabel"]["flips"], found["alarms"]) == (200, 0, [])
    new = _outputs(_ids(2000, 100), 7, sure=FOREIGN)
    _write(POOL | new, dict.fromkeys(new, "web"))
    with pytest.raises(Held, match="of the new images of the source 'web'"):
        _drift()


def test_confident_flips_hold_and_flips_of_doubtful_labels_do_not() -> None:
    """3 % of the labels that the run before was sure of: exit 4. As many doubtful ones: counted."""
    _write(POOL)
    _drift()
    sure, doubtful = (
        [i for i, p in POOL.items() if is_in(p.max())] for is_in in (lambda m: m > 0.92, lambda m: m < 0.88)
    )
    turned = {i: POOL[i][[1, 2, 0]] for i in doubtful[:30]}
    _write(POOL | turned)
    found = _drift()
    assert (found["relabel"]["flips"], found["relabel"]["confident_flips"], found["alarms"]) == (30, 0, [])
    assert sum(row["left"] for row in found["relabel"]["per_class"]) == 30
    _write(POOL | turned | {i: POOL[i][[1, 2, 0]] for i in sure[:30]})
    with pytest.raises(Held, match=r"30 of \d+ labels .* more than 90% sure of are others now"):
        _drift()
    assert len(_history()) == 2


def test_people_who_correct_labels_are_no_drift() -> None:
    """A label that a person set is left out of the flips, now and in the next run."""
    _write(POOL)
    _drift()
    rows: dict[str, tuple[str | None, float, str]] = {
        i: (CLASSES[(p.argmax() + 1) % 3], 1.0, "human_label") for i, p in POOL.items()
    }
    shutil.rmtree(files.labels("r1"))
    fabricated.label_table("r1", rows)
    assert _drift()["relabel"]["compared"] == 0
    _write(POOL)
    assert _drift()["relabel"]["flips"] == 0


def test_the_same_inputs_give_the_same_bytes_and_no_new_run() -> None:
    """Again after one run and after two; a setting that changes the verdict adds no run either."""
    more = POOL | _outputs(_ids(1000, 100), 6)
    for number, prob in enumerate((POOL, more), start=1):
        _write(prob, held=HELD)
        _drift()
        content = _content()
        _drift()
        assert (_content(), len(_history())) == (content, number)
    _drift(max_shift=0.5)
    assert [run["images"] for run in _history()] == [600, 700]
    assert _drift(max_shift=0.1)["relabel"]["new"] == 100
    assert _content() == content


def test_the_history_is_bounded_and_a_rerun_keeps_its_bytes() -> None:
    """`drift.history: 2`: two earlier runs and this one."""
    for first in range(5):
        _write({i: p for n, (i, p) in enumerate(POOL.items()) if n >= first})
        _drift(history=2)
    assert [run["images"] for run in _history()] == [598, 597, 596]
    content = _content()
    _drift()
    assert _content() == content


def test_what_is_usual_is_learnt_from_runs_without_an_alarm() -> None:
    """From `drift.runs` runs on, 4 % of confident flips pass where they are usual, and 40 % never."""
    sure = [i for i, p in POOL.items() if p.max() > 0.92]

    def turned(share: float, seed: int) -> Prob:
        chosen = np.random.default_rng(seed).choice(sure, int(share * len(sure)), replace=False)
        return POOL | {i: POOL[i][[1, 2, 0]] for i in chosen}

    for run in range(7):
        _write(turned(0.02 + 0.002 * (run % 2), run))
        _drift(runs=5, action="hold", max_confident_flips=0.5)
    _write(turned(0.02, 50))
    assert _drift(max_confident_flips=0.0)["alarms"] == []
    _write(turned(0.4, 60))
    with pytest.raises(Held, match="usual are up to"):
        _drift()


def test_another_seed_is_no_drift() -> None:
    """Five calm runs, then 9 % of the doubtful labels flip: unusual under the same seed, and not under another, whose

    run teaches nothing about what is usual. Flips of confident labels are held to the limit all the same.
    """
    doubtful = [i for i, p in POOL.items() if p.max() < 0.89]
    sure = [i for i, p in POOL.items() if p.max() > 0.92]
    moved = POOL | {i: POOL[i][[1, 2, 0]] for i in doubtful[:54]}
    for run in range(6):
        _write(POOL | {doubtful[run]: POOL[doubtful[run]][[1, 2, 0]]})
        _drift(runs=5, action="hold")
    _write(moved)
    with pytest.raises(Held, match="labels that changed"):
        _drift()
    raw = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump(raw | {"seed": 1}, sort_keys=False))
    found = _drift()
    assert (found["alarms"], found["reseeded"]) == ([], True)
    assert found["relabel"]["flips"] > 50
    assert [run["reseeded"] for run in _history()] == [False] * 6 + [True]
    Path("params.yaml").write_text(yaml.safe_dump(raw | {"seed": 2, "drift": raw["drift"]}, sort_keys=False))
    _write(moved | {i: POOL[i][[1, 2, 0]] for i in sure[:100]})
    with pytest.raises(Held, match=r"drift\.max_confident_flips allows"):
        _drift()


def test_a_lost_folder_starts_afresh_and_a_damaged_one_is_named() -> None:
    """Without data/drift/r1 the run is a first one, as it was; with a flipped byte exit 5 names the file."""
    _write(POOL, held=HELD)
    _drift()
    content = _content()
    _write(_outputs(_ids(1000, 600), 6), held=HELD)
    _drift()
    shutil.rmtree(files.drift("r1"))
    _write(POOL, held=HELD)
    _drift()
    assert _content() == content
    path = files.drift("r1") / "pool.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Integrity, match=r"pool\.parquet"):
        _drift()


def test_other_classes_are_other_labels() -> None:
    """Labels are compared by name: classes in another order flip nothing, a class that is gone flips its images."""
    _write(POOL)
    _drift()
    moved = {i: p[[2, 1, 0]] for i, p in POOL.items()}
    CLASSES.reverse()
    try:
        _write(moved)
        assert _drift()["relabel"]["flips"] == 0
    finally:
        CLASSES.reverse()
