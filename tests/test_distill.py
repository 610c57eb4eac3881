"""The stage `distill@NAME`: what a small net takes over, that ONNX says what torch says, that a kill costs nothing."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml

from tasks import deployed, distill, files
from tasks.core.fixres import CLEAN
from tasks.core.predict import predict
from tasks.errors import Integrity, UserError
from tasks.images.store import Images
from tasks.models import build_from, load_model, parameters, save_model
from tasks.params import Settings, load
from tasks.report import render
from tasks.sections import distilled as section
from tests import fabricated

CLASSES = ["ant", "bee", "cow"]
IMAGES = pa.schema([pa.field("image_id", pa.string()), pa.field("bytes", pa.binary())])
LABELED, POOL, GATE = slice(0, 6), slice(6, 66), slice(66, 90)
SMALL: dict[str, Any] = {
    "net": "wrn10mp",
    "width": 1,
    "steps": 80,
    "stop": {"patience": 0, "every": 50, "share": 0.2},
    "dropout": 0.0,
    "stochastic_depth": 0.0,
    "noise": asdict(CLEAN),
    "fixres": {"steps": 0, "lr": 0.01},
    "start": {
        "weights": "none",
        "backbone": "train",
        "backbone_lr": 1.0,
        "layer_decay": 1.0,
        "unfreeze_every": 0,
        "views": 1,
    },
    "sampling": "natural",
    "logit_adjustment": 0.0,
    "ratio": 4,
    "consistency": {"method": "none", "threshold": 0.95, "ramp": 0.3, "weight": 1.0},
    "temperature": 2.0,
    "labels": True,
    "images": 50,
}


class Case:
    """90 images of noise and a champion that nobody trained, but which has opinions."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        fabricated.settings()
        self.ids = fabricated.images(90)
        torch.manual_seed(0)
        card = {"net": "wrn10mp", "width": 2, "dropout": 0.0, "stochastic_depth": 0.0, "channels": 1, "size": 8}
        self.champion = build_from(card | {"classes": CLASSES}).eval()
        with torch.no_grad():
            list(self.champion.parameters())[-2].mul_(20)
        staged = files.WORK / "net"
        staged.mkdir(parents=True)
        about = {"classes": CLASSES, "key": "r2", "steps": 1, "parameters": parameters(self.champion)}
        save_model(staged, self.champion, card | about)
        files.seal(staged, {"stage": "made"})
        files.move_into_place(staged, files.CHAMPION)
        self.truth = self.said(self.champion, self.ids)
        self.held_out({})

    def said(self, net: torch.nn.Module, ids: list[str]) -> dict[str, str]:
        """The class a net gives each image."""
        image_NCHW = Images(files.IMAGES).load(ids, load().image)
        return {i: CLASSES[int(c)] for i, c in zip(ids, predict(net, image_NCHW, 7).argmax(1), strict=True)}

    def common(self) -> float:
        """The share of the champion's favourite class: what a net gets right that knows nothing else."""
        return float(max(np.unique(list(self.truth.values()), return_counts=True)[1]) / len(self.truth))

    def held_out(self, gate: dict[str, str]) -> None:
        """Split, labeled images and the gate's."""
        train = {i: self.truth[i] for i in self.ids[LABELED]}
        fabricated.split(CLASSES, train=train, pool=dict.fromkeys(self.ids[POOL], "pool"), test={})
        shown = files.read_table(files.images("digits") / "part-00000.parquet").to_pylist()
        for target, given in ((files.GATE, gate), (files.LABELED, train)):
            part = pa.Table.from_pylist([row for row in shown if row["image_id"] in given], IMAGES)
            tables = {target.name: fabricated.labeled(given), "part-00000": part}
            fabricated.publish(target, classes=CLASSES, **tables)

    def run(self, **chosen: Any) -> dict[str, Any]:
        """The stage with an entry `small`, and what it found."""
        settings = self.settings(**chosen)
        fabricated.run(distill.distill, distill.PARAMS, settings, "small")
        found: dict[str, Any] = files.read_json(files.distilled("small") / "distilled.json")
        return found

    def settings(self, **chosen: Any) -> Settings:
        """params.yaml with that entry."""
        raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
        raw["distill"] = {"small": SMALL | chosen}
        raw["train"] |= {"batch": 6, "warmup": 2, "checkpoint_every": 10}
        Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
        return load()


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.chdir(tmp_path)
    return Case()


def test_it_takes_over_what_the_champion_believes(case: Case) -> None:
    """Of images without labels it learns the champion's classes; the same net from the labels alone does not know them.
    Accuracy, sizes and agreement are those of the nets, and the report shows them."""
    gate = {i: case.truth[i] for i in case.ids[GATE]}
    case.held_out(gate)
    found = case.run()
    net, card = load_model(files.distilled("small"))
    pool = case.ids[POOL]
    agrees = np.mean([case.said(net, pool)[i] == case.truth[i] for i in pool])
    assert agrees > case.common() + 0.1
    assert found["asked"] == 50 + 6
    assert found["distilled"]["parameters"] == parameters(net) == card["parameters"] < parameters(case.champion)
    said, right = case.said(net, list(gate)), found["gate"]["distilled"]["accuracy"]
    assert found["gate"]["champion"]["accuracy"] == 1
    assert right == pytest.approx(np.mean([said[i] == gate[i] for i in gate]), abs=1e-6)
    assert right == found["gate"]["agreement"] > found["gate"]["alone"]["accuracy"] + 0.2
    speeds = files.read_json(files.distilled("small") / "speed.json")
    assert all(speeds[role]["ms"] > 0 for role in ("champion", "distilled", "onnx"))
    shown = render("t", {"distilled": section.section(_Run(load())) or {}})
    assert "50 images" not in shown
    assert "56 images" in shown
    assert f"{100 * found['gate']['alone']['accuracy']:.1f}" in shown


class _Run:
    """As much of a finished run as the section reads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def artefact(self, path: Path) -> Path | None:
        return path if path.exists() else None


def test_onnx_says_what_torch_says_and_is_the_same_file_again(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped after the training and run again, it goes on at the last checkpoints. Batches of any size; the same
    bytes again, with the classes in them and no place of this machine. Another net's answers are refused."""
    export = deployed.export
    monkeypatch.setattr(deployed, "export", _stop)
    with pytest.raises(KeyboardInterrupt):
        case.run(labels=False)
    monkeypatch.setattr(deployed, "export", export)
    capsys.readouterr()
    found = case.run(labels=False)
    assert found["gate"] is None
    assert capsys.readouterr().out.count("continuing at step 70 of 80") == 2
    folder = files.distilled("small")
    net, card = load_model(folder)
    agrees = np.mean([case.said(net, case.ids[POOL])[i] == case.truth[i] for i in case.ids[POOL]])
    assert agrees > case.common() + 0.1, "the champion alone teaches it too"
    export(net, card, Path("again.onnx"))
    assert Path("again.onnx").read_bytes() == (folder / "model.onnx").read_bytes()
    image_NCHW = Images(files.IMAGES).load(case.ids, load().image)
    prob_NC = predict(net, image_NCHW, 90)
    for batch in (1, 7, 90):
        assert deployed.check(folder / "model.onnx", image_NCHW, prob_NC, batch) < 1e-5
    with pytest.raises(Integrity, match="a probability differs by"):
        deployed.check(folder / "model.onnx", image_NCHW, predict(case.champion, image_NCHW, 90), 90)
    content = (folder / "model.onnx").read_bytes()
    assert b'["ant", "bee", "cow"]' in content
    assert b".py" not in content


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt


def test_what_is_no_smaller_is_refused(case: Case) -> None:
    """The champion's own size: a sentence, and nothing is trained."""
    with pytest.raises(UserError, match=r"wrn10mp x2 has 302,515 parameters, the champion r2"):
        case.run(width=2)
    assert not files.distilled("small").exists()
