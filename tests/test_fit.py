"""What training leaves beside the weights: predictions of images by nets that did not learn from them."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tasks import files, held
from tasks import teacher as module
from tasks.core.predict import predict
from tasks.core.stopping import set_aside
from tasks.curves import LIVE
from tasks.errors import UserError
from tasks.fit import Work, card_of, labeled_examples
from tasks.images.store import Images
from tasks.models import load_model
from tasks.params import Settings, load
from tasks.stage import Stage
from tests import fabricated

CLASSES = ["ant", "bee"]
MODEL = files.model("r0")


def _workspace(calib: int, **calibrate: Any) -> Settings:
    """24 labeled images of two classes, `calib` of them held out, in data/labeled."""
    fabricated.settings()
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    raw["teacher"] |= {"width": 1, "steps": 6}
    raw["train"] |= {"batch": 8, "warmup": 1, "checkpoint_every": 2}
    raw["calibrate"] |= calibrate
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    ids = fabricated.images(24)
    label_of = {i: CLASSES[n % 3 == 0] for n, i in enumerate(ids)}
    train = {i: label_of[i] for i in ids[calib:]}
    fabricated.split(CLASSES, train=train, pool={}, test={}, calib={i: label_of[i] for i in ids[:calib]})
    from tasks import labeled

    fabricated.run(labeled.labeled, labeled.PARAMS, load())
    return load()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own."""
    monkeypatch.chdir(tmp_path)


def test_the_calib_images_are_judged_by_the_net_itself() -> None:
    """held.parquet holds exactly the calib images, fold -1, with what the stored net says of them."""
    settings = _workspace(10, folds=3)
    fabricated.run(module.teacher, module.PARAMS, settings)
    rows = files.read_table(MODEL / held.HELD).to_pydict()
    calib = files.read_table(files.SPLIT / "calib.parquet").to_pydict()
    assert (rows["image_id"], rows["label"], rows["fold"]) == (calib["image_id"], calib["label"], [-1] * 10)
    net, card = load_model(MODEL)
    prob_NC = predict(net, Images(files.LABELED).load(calib["image_id"], settings.image), 256).numpy()
    np.testing.assert_array_equal(np.array(rows["prob"], np.float32), prob_NC)
    found = files.read_json(MODEL / held.CALIBRATION)
    assert (found["from"], found["n"], card["key"], len(found["per_class"])) == ("calib", 10, "r0", 2)


def test_without_calib_every_label_is_judged_by_a_net_that_did_not_see_it() -> None:
    """Each label once, in even stratified folds; what one fold's net says is not what the net of all labels says, and

    a run that finds a finished fold takes it as it is and ends with the same bytes.
    """
    settings = _workspace(0, folds=3)
    stage = Stage("teacher", settings, module.PARAMS)
    stage.home.mkdir(parents=True)
    labeled = labeled_examples(stage)
    work = Work(stage, "r0", settings.teacher, card_of(settings.teacher, settings.image, CLASSES), None)
    work.fold(labeled, 3, 1)
    (early,) = stage.resume().glob(f"fold-1/{held.HELD}")
    before = early.stat().st_mtime_ns
    kept = early.read_bytes()
    module.teacher(stage)
    assert (early.stat().st_mtime_ns, early.read_bytes()) == (before, kept)
    stage.publish()
    resumed = (MODEL / files.MANIFEST).read_bytes()

    table = files.read_table(MODEL / held.HELD)
    rows = table.to_pydict()
    assert rows["image_id"] == sorted(labeled.ids)
    assert set(Counter(zip(rows["label"], rows["fold"], strict=True)).values()) == {2, 3, 5, 6}
    assert sorted(Counter(rows["fold"]).values()) == [8, 8, 8]
    assert files.read_json(MODEL / held.CALIBRATION)["from"] == "cross-fit"
    net, _ = load_model(MODEL)
    prob_NC, _ = held.arrays(table, CLASSES)
    seen_NC = predict(net, Images(files.LABELED).load(rows["image_id"], settings.image), 256).numpy()
    assert not np.isclose(prob_NC, seen_NC).all(axis=1).any()

    fabricated.run(module.teacher, module.PARAMS, settings)
    assert (MODEL / files.MANIFEST).read_bytes() == resumed


def test_two_processes_train_the_net_of_one() -> None:
    """`train.processes: 2` ends with the weights and the curve of one process, within 1e-5, and in as many steps."""
    weights, curves = [], []
    for processes in (1, 2):
        settings = _workspace(0, folds=0)
        settings = _changed(train={"accumulate": 2, "processes": processes})
        fabricated.run(module.teacher, module.PARAMS, settings)
        weights.append(load_model(MODEL)[0].state_dict())
        curves.append((files.curves("r0") / "train.csv").read_text().splitlines())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-5, rtol=0, msg=name)
    assert [len(curve) for curve in curves] == [2, 2]


def test_early_stopping_keeps_images_aside_and_says_how_many_steps() -> None:
    """A quarter of each class is looked at and not learnt from; the curve has a column for it, the record the steps."""
    settings = _workspace(0, folds=0)
    settings = _changed(teacher={"steps": 60, "stop": {"patience": 1, "every": 2, "share": 0.25}})
    fabricated.run(module.teacher, module.PARAMS, settings)
    header, *rows = (files.curves("r0") / "train.csv").read_text().splitlines()
    assert header == "step,loss,loss_labeled,loss_pseudo,lr,loss_validation"
    assert (LIVE / "teacher.csv").read_bytes() == (files.curves("r0") / "train.csv").read_bytes()
    seen = [float(row.split(",")[-1]) for row in rows if not row.endswith(",")]
    steps = files.read_json(MODEL / files.SUMMARY)["steps"]
    assert steps == 2 * len(seen) < 60
    assert min(seen) == seen[-2]
    _changed(teacher={"steps": 6, "stop": {"patience": 1, "every": 2, "share": 0.01}})
    with pytest.raises(UserError, match="not one image of any class"):
        fabricated.run(module.teacher, module.PARAMS, load())


@pytest.mark.parametrize(("share", "aside"), [(0.25, [4, 2]), (0.9, [14, 7]), (0.01, [0, 0])])
def test_kept_aside_is_a_share_of_every_class(share: float, aside: list[int]) -> None:
    """Rounded, drawn anew by another seed, and every class keeps one image to learn from."""
    label_N = torch.tensor([0] * 16 + [1] * 8)
    target_NC = torch.nn.functional.one_hot(label_N, 2).float()
    aside_N, again_N, other_N = (set_aside(target_NC, share, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.bincount(label_N[aside_N], minlength=2).tolist() == aside
    assert torch.equal(aside_N, again_N)
    assert not aside_N.any() or not torch.equal(aside_N, other_N)


def _changed(**sections: dict[str, Any]) -> Settings:
    """params.yaml with other values in some sections."""
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    for name, values in sections.items():
        raw[name] |= values
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    return load()


def test_nothing_held_out_and_no_folds_says_so() -> None:
    """Zero rows, and a calibration that corrects nothing."""
    fabricated.run(module.teacher, module.PARAMS, _workspace(0, folds=0))
    assert files.read_table(MODEL / held.HELD).num_rows == 0
    assert files.read_json(MODEL / held.CALIBRATION) == {
        "from": "none",
        "n": 0,
        "temperature": 1.0,
        "per_class": [0.0, 0.0],
        "ece": {},
        "reliability": {},
    }
