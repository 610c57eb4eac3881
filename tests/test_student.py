"""The stage `student@rK`: `net: auto`, and the ways to learn that a round may choose."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tasks import files, labeled, recipes
from tasks import student as module
from tasks.core.targets import as_stored
from tasks.core.train import Examples
from tasks.errors import UserError
from tasks.fit import labeled_examples
from tasks.models import build_from, load_model, parameters, save_model
from tasks.params import Settings, load
from tasks.stage import Stage
from tests import fabricated

CLASSES = ["ant", "bee"]
CARD: dict[str, Any] = {"net": "wrn10mp", "width": 1, "dropout": 0.0, "stochastic_depth": 0.0, "channels": 1, "size": 8}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder with 12 labeled images, 9 of one class, and a pool of 30 with a round's labels."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    fabricated.settings()
    ids = fabricated.images(42)
    given = {i: CLASSES[n % 4 == 0] for n, i in enumerate(ids[:12])}
    fabricated.split(CLASSES, train=given, pool=dict.fromkeys(ids[12:], "pool"), test={})
    _settings()
    fabricated.run(labeled.labeled, labeled.PARAMS, load())
    fabricated.label_table("r1", {i: (CLASSES[n % 5 == 0], 0.9, "kept") for n, i in enumerate(ids[12:])})
    labels = files.manifest_hash(files.labels("r1"))
    fabricated.publish(files.drift("r1"), cleared={"labels": labels})
    staged = files.WORK / "net"
    staged.mkdir(parents=True)
    champion = build_from(CARD | {"classes": CLASSES})
    save_model(staged, champion, CARD | {"classes": CLASSES, "key": "r0", "parameters": parameters(champion)})
    files.seal(staged, {"stage": "made"})
    files.move_into_place(staged, files.champion("r0"))


def test_auto_is_the_teachers_net_and_larger_by_the_factor() -> None:
    """`grow: 3` of wrn10mp x1 is wrn10mp x2; the card names it, and so will the next round's teacher."""
    settings = _settings(net="auto", width=1, grow=3.0)
    fabricated.run(module.student, module.PARAMS, settings, "r1")
    net, card = load_model(files.model("r1"))
    teacher = files.read_json(files.champion("r0") / "card.json")
    assert (card["net"], card["width"]) == ("wrn10mp", 2)
    assert 3 * teacher["parameters"] <= card["parameters"] == parameters(net)


def test_a_ladder_that_ends_says_so() -> None:
    """No net of the family is that large: the largest is named, and what to change."""
    settings = _settings(net="auto", grow=100.0)
    teacher = files.read_json(files.champion("r0") / "card.json")
    with pytest.raises(UserError, match="largest of its family") as caught:
        module._sized("r1", settings.rounds["r1"].student, teacher | {"width": 64})
    assert "rounds.r1.student.grow" in caught.value.fix


def test_what_a_round_chooses_reaches_the_loop() -> None:
    """Consistency, its weight, class shares and copies: what the settings say is what the loop gets. Off by default."""
    plain = _settings().rounds["r1"].student
    assert recipes.told(plain) is as_stored
    settings = _settings(
        consistency={"method": "fixmatch", "threshold": 0.9, "ramp": 0.3, "weight": 0.5},
        sampling="balanced",
        logit_adjustment=1.0,
    )
    spec = settings.rounds["r1"].student
    told: Any = recipes.told(spec)
    assert (told.keywords["weight"], told.keywords["told"].keywords["threshold"]) == (0.5, 0.9)
    weak = told.keywords["told"].keywords["weak"]
    assert (weak.crop, weak.flip, weak.num_ops) == (spec.noise.crop, spec.noise.flip, 0)
    given = labeled_examples(Stage("student@r1", settings, ())).examples
    pool = Examples(given.image_NCHW, given.target_NC, torch.ones(12, dtype=torch.int64))
    found = recipes.losses(spec, settings.train, given, pool, None, torch.nn.functional.cross_entropy)
    for name in ("of_labeled", "of_pseudo"):
        np.testing.assert_allclose(found[name].keywords["share_C"], [9 / 12, 3 / 12])


@pytest.mark.parametrize("method", ["fixmatch", "mean_teacher"])
def test_a_student_of_its_own_beliefs_is_another_net(method: str) -> None:
    """The same round with stored labels, with consistency, and again: the method matters, and its bytes repeat."""
    fabricated.run(module.student, module.PARAMS, _settings(), "r1")
    stored = (files.model("r1") / "weights.safetensors").read_bytes()
    own = []
    for _ in range(2):
        settings = _settings(consistency={"method": method, "threshold": 0.0, "ramp": 0.3, "weight": 1.0})
        fabricated.run(module.student, module.PARAMS, settings, "r1")
        own.append((files.model("r1") / "weights.safetensors").read_bytes())
    assert own[0] == own[1] != stored


def _settings(**student: Any) -> Settings:
    """params.yaml with other values for the student of r1, and a short training."""
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    raw["train"] |= {"batch": 4, "warmup": 1}
    raw["split"] |= {"calib": 0, "gate": 0}
    base: dict[str, Any] = {"net": "wrn10mp", "width": 1, "steps": 3, "ratio": 2, "sampling": "natural"}
    raw["rounds"]["r1"]["student"] |= base | student
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    return load()
