"""The drift stage: a pool that is not what the labels are of trains no student, and what moved is told from what did
not. Fabricated outputs: a net that knows its classes is sure of most images, and of foreign ones it is not."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from tasks import files
from tasks.errors import Held, Integrity
from tests import fabricated
from tests.drifting import CLASSES, FOREIGN, HELD, POOL, Prob, content, history, ids, outputs, run_drift, write


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder with the project's settings."""
    monkeypatch.chdir(tmp_path)
    fabricated.settings()


def test_a_pool_like_the_labels_passes_whatever_its_mix_of_classes() -> None:
    """Balanced labels and a pool skewed 10 to 1 are no drift; every group is listed with its numbers."""
    write(POOL, held=HELD)
    assert run_drift()["alarms"] == []
    write(outputs(ids(0, 600), 3, share=[10 / 12, 1 / 12, 1 / 12]), held=HELD)
    shutil.rmtree(files.drift("r1"))
    (found,) = run_drift()["shifts"]
    assert (found["foreign"], found["images"], found["reference"]) == (None, 600, 300)


def test_half_of_the_pool_from_elsewhere_holds_and_nothing_is_published() -> None:
    """Exit 4 says how much looks foreign; the student finds no cleared labels."""
    half = outputs(ids(1000, 600), 4, sure=FOREIGN)
    write(POOL | half, held=HELD)
    with pytest.raises(Held, match=r"at least \d\d% of the pool \(1,200 images\) look foreign") as held:
        run_drift()
    assert held.value.exit_code == 4
    assert not files.drift("r1").exists()


def test_a_small_foreign_source_is_named() -> None:
    """A twentieth of the pool is too little to see in the whole, and plain where its source is looked at."""
    few = outputs(ids(1000, 30), 4, sure=FOREIGN)
    write(POOL | few, dict.fromkeys(few, "web"), held=HELD)
    with pytest.raises(Held, match=r"of the source 'web' \(30 images\).*\n.*\n.*take 'web' out of sources") as held:
        run_drift()
    assert "of the pool" not in held.value.what


def test_report_goes_on_and_keeps_the_alarm() -> None:
    """`drift.action: report`: the alarm stands in the artefact and in the history, and the labels are cleared."""
    write(POOL | outputs(ids(1000, 600), 4, sure=FOREIGN), held=HELD)
    assert [alarm["what"] for alarm in run_drift(action="report")["alarms"]] == ["shift"]
    assert history()[-1]["alarms"] == ["shift"]
    cleared = files.read_json(files.drift("r1") / "cleared.json")
    assert cleared == {"labels": files.manifest_hash(files.labels("r1"))}


def test_a_cross_fitted_reference_is_not_believed_to_be_as_sure_as_the_teacher() -> None:
    """Nets of fewer labels are less sure: the same numbers are an alarm from a calibration split and none from them,
    and a pool that is less sure than even they are is one."""
    write(POOL, held=outputs(sorted(HELD), 5, sure=2.7), fold=0)
    assert run_drift()["alarms"] == []
    write(POOL, held=outputs(sorted(HELD), 5, sure=2.7))
    with pytest.raises(Held):
        run_drift()
    write(POOL | outputs(ids(1000, 600), 4, sure=FOREIGN), held=HELD, fold=2)
    with pytest.raises(Held):
        run_drift()


def test_without_a_reference_a_first_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """No held-out predictions and no earlier run: nothing is compared, nothing is claimed."""
    write(outputs(ids(0, 600), 4, sure=FOREIGN))
    assert run_drift()["shifts"] == []
    assert "nothing to compare the pool with yet" in capsys.readouterr().out


def test_a_source_without_labels_is_compared_with_the_pool_of_those_that_have_some() -> None:
    """No held-out prediction is needed to name it; a source of the same kind passes."""
    same, other = outputs(ids(1000, 60), 6, share=[0.6, 0.3, 0.1]), outputs(ids(2000, 60), 7, sure=FOREIGN)
    write(POOL | same, dict.fromkeys(same, "phone"))
    assert run_drift()["alarms"] == []
    write(POOL | same | other, dict.fromkeys(same, "phone") | dict.fromkeys(other, "web"))
    with pytest.raises(
        Held, match=r"of the source 'web' .* compared with 600 pool images of sources that bring"
    ) as held:
        run_drift()
    assert "phone" not in held.value.what


def test_new_images_are_compared_with_those_of_the_run_before() -> None:
    """No labels are needed: a foreign source that joins is named; more of the same passes, and so does another mix."""
    write(POOL)
    run_drift()
    write(POOL | outputs(ids(1000, 200), 6, share=[0.8, 0.1, 0.1]))
    found = run_drift()
    assert (found["relabel"]["new"], found["relabel"]["flips"], found["alarms"]) == (200, 0, [])
    new = outputs(ids(2000, 100), 7, sure=FOREIGN)
    write(POOL | new, dict.fromkeys(new, "web"))
    with pytest.raises(Held, match="of the new images of the source 'web'"):
        run_drift()


def test_confident_flips_hold_and_flips_of_doubtful_labels_do_not() -> None:
    """3 % of the labels that the run before was sure of: exit 4. As many doubtful ones: counted."""
    write(POOL)
    run_drift()
    sure, doubtful = (
        [i for i, p in POOL.items() if is_in(p.max())] for is_in in (lambda m: m > 0.92, lambda m: m < 0.88)
    )
    turned = {i: POOL[i][[1, 2, 0]] for i in doubtful[:30]}
    write(POOL | turned)
    found = run_drift()
    assert (found["relabel"]["flips"], found["relabel"]["confident_flips"], found["alarms"]) == (30, 0, [])
    assert sum(row["left"] for row in found["relabel"]["per_class"]) == 30
    write(POOL | turned | {i: POOL[i][[1, 2, 0]] for i in sure[:30]})
    with pytest.raises(Held, match=r"30 of \d+ labels .* more than 90% sure of are others now"):
        run_drift()
    assert len(history()) == 2


def test_people_who_correct_labels_are_no_drift() -> None:
    """A label that a person set is left out of the flips, now and in the next run."""
    write(POOL)
    run_drift()
    rows: dict[str, tuple[str | None, float, str]] = {
        i: (CLASSES[(p.argmax() + 1) % 3], 1.0, "human_label") for i, p in POOL.items()
    }
    shutil.rmtree(files.labels("r1"))
    fabricated.label_table("r1", rows)
    assert run_drift()["relabel"]["compared"] == 0
    write(POOL)
    assert run_drift()["relabel"]["flips"] == 0


def test_the_same_inputs_give_the_same_bytes_and_no_new_run() -> None:
    """Again after one run and after two; a setting that changes the verdict adds no run either."""
    more = POOL | outputs(ids(1000, 100), 6)
    for number, prob in enumerate((POOL, more), start=1):
        write(prob, held=HELD)
        run_drift()
        kept = content()
        run_drift()
        assert (content(), len(history())) == (kept, number)
    run_drift(max_shift=0.5)
    assert [run["images"] for run in history()] == [600, 700]
    assert run_drift(max_shift=0.1)["relabel"]["new"] == 100
    assert content() == kept


def test_the_history_is_bounded_and_a_rerun_keeps_its_bytes() -> None:
    """`drift.history: 2`: two earlier runs and this one."""
    for first in range(5):
        write({i: p for n, (i, p) in enumerate(POOL.items()) if n >= first})
        run_drift(history=2)
    assert [run["images"] for run in history()] == [598, 597, 596]
    kept = content()
    run_drift()
    assert content() == kept


def test_what_is_usual_is_learnt_from_runs_without_an_alarm() -> None:
    """From `drift.runs` runs on, 4 % of confident flips pass where they are usual, and 40 % never."""
    sure = [i for i, p in POOL.items() if p.max() > 0.92]

    def turned(share: float, seed: int) -> Prob:
        chosen = np.random.default_rng(seed).choice(sure, int(share * len(sure)), replace=False)
        return POOL | {i: POOL[i][[1, 2, 0]] for i in chosen}

    for run in range(7):
        write(turned(0.02 + 0.002 * (run % 2), run))
        run_drift(runs=5, action="hold", max_confident_flips=0.5)
    write(turned(0.02, 50))
    assert run_drift(max_confident_flips=0.0)["alarms"] == []
    write(turned(0.4, 60))
    with pytest.raises(Held, match="usual are up to"):
        run_drift()


def test_another_seed_is_no_drift() -> None:
    """Five calm runs, then 9 % of the doubtful labels flip: unusual under the same seed, and not under another, whose

    run teaches nothing about what is usual. Flips of confident labels are held to the limit all the same.
    """
    doubtful = [i for i, p in POOL.items() if p.max() < 0.89]
    sure = [i for i, p in POOL.items() if p.max() > 0.92]
    moved = POOL | {i: POOL[i][[1, 2, 0]] for i in doubtful[:54]}
    for run in range(6):
        write(POOL | {doubtful[run]: POOL[doubtful[run]][[1, 2, 0]]})
        run_drift(runs=5, action="hold")
    write(moved)
    with pytest.raises(Held, match="labels that changed"):
        run_drift()
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    Path("params.yaml").write_text(yaml.dump(raw | {"seed": 1}, Dumper=yaml.CSafeDumper, sort_keys=False))
    found = run_drift()
    assert (found["alarms"], found["reseeded"]) == ([], True)
    assert found["relabel"]["flips"] > 50
    assert [run["reseeded"] for run in history()] == [False] * 6 + [True]
    Path("params.yaml").write_text(
        yaml.dump(raw | {"seed": 2, "drift": raw["drift"]}, Dumper=yaml.CSafeDumper, sort_keys=False)
    )
    write(moved | {i: POOL[i][[1, 2, 0]] for i in sure[:100]})
    with pytest.raises(Held, match=r"drift\.max_confident_flips allows"):
        run_drift()


def test_a_lost_folder_starts_afresh_and_a_damaged_one_is_named() -> None:
    """Without data/drift/r1 the run is a first one, as it was; with a flipped byte exit 5 names the file."""
    write(POOL, held=HELD)
    run_drift()
    kept = content()
    write(outputs(ids(1000, 600), 6), held=HELD)
    run_drift()
    shutil.rmtree(files.drift("r1"))
    write(POOL, held=HELD)
    run_drift()
    assert content() == kept
    path = files.drift("r1") / "pool.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Integrity, match=r"pool\.parquet"):
        run_drift()


def test_other_classes_are_other_labels() -> None:
    """Labels are compared by name: classes in another order flip nothing, a class that is gone flips its images."""
    write(POOL)
    run_drift()
    moved = {i: p[[2, 1, 0]] for i, p in POOL.items()}
    CLASSES.reverse()
    try:
        write(moved)
        assert run_drift()["relabel"]["flips"] == 0
    finally:
        CLASSES.reverse()
