"""Transfer learning from end to end: a source task made here (the digits 0 to 6), a target with few labels (7 to 9).

All through what the stages use: weights and card in data/start, `starts.read`, `Work.train`.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import one_hot

from tasks import features, files, starts
from tasks.core.head import last_layer
from tasks.core.predict import predict
from tasks.core.train import Examples
from tasks.errors import UserError
from tasks.fit import Work, card_of
from tasks.models import load_model, save_model
from tasks.params import Settings, load
from tasks.stage import Stage
from tests import fabricated
from tests.conftest import ROOT

KNOWN, TARGET = ["zero", "one", "two", "three", "four", "five", "six"], ["seven", "eight", "nine"]
PER_CLASS, SEEDS = 2, (0, 1, 2)


def _digits(first: int, last: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 1, 8, 8) of the digits from `first` to `last`, and their classes from 0 on."""
    found = load_digits()
    ours = (found.target >= first) & (found.target <= last)
    image_NCHW = torch.from_numpy((found.images[ours] * 15.9).astype(np.uint8))[:, None]
    return image_NCHW, torch.from_numpy(found.target[ours] - first)


def _examples(image_NCHW: torch.Tensor, label_N: torch.Tensor) -> Examples:
    return Examples(image_NCHW, one_hot(label_N).float(), torch.ones(len(label_N), dtype=torch.int64))


def _few(seed: int) -> tuple[Examples, torch.Tensor, torch.Tensor]:
    """`PER_CLASS` labeled images of each class of the target, and all others with their classes."""
    image_NCHW, label_N = _digits(7, 9)
    drawn = torch.from_numpy(np.random.default_rng(seed).permutation(len(label_N)))
    few = torch.cat([drawn[label_N[drawn] == c][:PER_CLASS] for c in range(3)])
    others = torch.ones(len(label_N), dtype=torch.bool)
    others[few] = False
    return _examples(image_NCHW[few], label_N[few]), image_NCHW[others], label_N[others]


def _settings(seed: int = 0, **start: Any) -> Settings:
    fabricated.settings()
    raw = yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)
    raw["seed"] = seed
    raw["teacher"] |= {"net": "wrn10mp", "width": 2, "steps": 40, "dropout": 0.0, "stochastic_depth": 0.0}
    raw["teacher"]["noise"] |= {"num_ops": 0, "crop": 1, "rotate": 15.0}
    raw["teacher"]["start"] |= start
    raw["train"] |= {"batch": 6, "lr": 0.05, "warmup": 4, "ema": 0.9, "checkpoint_every": 10}
    Path("params.yaml").write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper, sort_keys=False))
    return load()


def _trained(settings: Settings, labeled: Examples, classes: list[str] = TARGET) -> tuple[nn.Module, starts.Start]:
    """The net that the stage `teacher` would train on these images."""
    stage, spec = Stage("teacher", settings, ["seed", "image", "train", "teacher"]), settings.teacher
    stage.home.mkdir(parents=True, exist_ok=True)
    start = starts.read(stage, spec, classes)
    card = card_of(spec, settings.image, classes) | start.card
    return Work(stage, "r0", spec, card, None, start).train("teacher", "r0", labeled, stage.resume())[0], start


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights and card of a net that knows the digits 0 to 6."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("source")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = _settings()
        spec = settings.teacher.model_copy(update={"steps": 250})
        train = settings.train.model_copy(update={"batch": 32, "lr": 0.1})
        settings = settings.model_copy(update={"teacher": spec, "train": train})
        net, _ = _trained(settings, _examples(*_digits(0, 6)), KNOWN)
        (folder / "known").mkdir()
        save_model(folder / "known", net, card_of(spec, settings.image, KNOWN))
    return folder / "known"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    """An empty project with the source net in data/start, as a folder and as a file."""
    monkeypatch.chdir(tmp_path)
    files.STARTS.mkdir(parents=True)
    (files.STARTS / "known").symlink_to(source)
    (files.STARTS / "known.safetensors").symlink_to(source / "weights.safetensors")


def test_a_source_task_helps_a_target_with_few_labels() -> None:
    """Two labels a class, equal steps, three seeds, all other images of the target: on average fine-tuning is right at
    least 5 points more often than a start from nothing, and a frozen backbone whose head alone learns no less often."""
    starts_of: dict[str, dict[str, Any]] = {
        "scratch": {},
        "tuned": {"weights": "known", "backbone_lr": 0.5},
        "frozen": {"weights": "known.safetensors", "backbone": "frozen"},
    }
    accuracy: dict[str, list[float]] = {name: [] for name in starts_of}
    for seed in SEEDS:
        few, image_NCHW, label_N = _few(seed)
        for name, start in starts_of.items():
            net, _ = _trained(_settings(seed, **start), few)
            hit_N = predict(net, image_NCHW, 256).argmax(dim=1) == label_N
            accuracy[name].append(hit_N.float().mean().item())
    mean = {name: float(np.mean(values)) for name, values in accuracy.items()}
    assert mean["tuned"] >= mean["scratch"] + 0.05, accuracy
    assert mean["frozen"] >= mean["scratch"], accuracy


def test_a_frozen_backbone_stays_bit_by_bit_and_looks_at_each_image_once() -> None:
    """All but the head equals the source, batch norm statistics too; the head differs; a second net finds the features
    on disk and ends with the same bits; a damaged file is computed again; and more views are more looks."""
    few, _, _ = _few(0)
    source, _ = load_model(files.STARTS / "known")
    net, start = _trained(_settings(weights="known", backbone="frozen"), few)
    head = {id(value) for value in last_layer(net).state_dict(keep_vars=True).values()}
    for name, value in net.state_dict(keep_vars=True).items():
        assert (id(value) in head) != torch.equal(value, source.state_dict()[name]), name
    assert start.card["started"]["sha256"] == files.sha256_file(files.STARTS / "known/weights.safetensors")
    assert start.card["started"]["head"] == "new"
    (path,) = features.HOME.glob("*/*.parquet")
    assert files.rows(path) == len(few.image_NCHW)
    before = path.stat().st_mtime_ns
    again, _ = _trained(_settings(weights="known", backbone="frozen", layer_decay=0.5), few)
    assert path.stat().st_mtime_ns == before
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes(60) + content[260:])
    mended, _ = _trained(_settings(weights="known", backbone="frozen", layer_decay=0.6), few)
    assert path.read_bytes() == content
    _same(net, again)
    _same(net, mended)
    _trained(_settings(weights="known", backbone="frozen", views=3), few)
    assert sum(files.rows(p) for p in features.HOME.glob("*/*.parquet")) > 2 * len(few.image_NCHW)


def _same(one: nn.Module, other: nn.Module) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


KILLED = """
import os, sys
sys.path.insert(0, {root!r})
import torch
from tasks import models
from tasks.params import load
from tests.test_transfer import _few, _trained
write = models.Checkpoints.write
def and_die(self, state):
    write(self, state)
    os.kill(os.getpid(), 9)
models.Checkpoints.write = and_die
torch.set_num_threads({threads})  # another number of threads adds up in another order
_trained(load(), _few(0)[0])
"""


@pytest.mark.parametrize(
    "start",
    [{"backbone": "frozen"}, {"backbone_lr": 0.2, "layer_decay": 0.8, "unfreeze_every": 7}],
    ids=["frozen", "thawed"],
)
def test_killed_it_goes_on_to_the_same_bits(start: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """SIGKILL after a checkpoint; the same call goes on from there and ends like one that nothing stopped."""
    settings = _settings(weights="known", **start)
    program = KILLED.format(root=str(ROOT), threads=torch.get_num_threads())
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -9
    resumed, _ = _trained(settings, _few(0)[0])
    assert "continuing at step 10 of 40" in capfd.readouterr().out
    for path in (files.WORK / "teacher/resume").glob("*/*"):
        path.unlink()
    whole, _ = _trained(settings, _few(0)[0])
    _same(resumed, whole)


def test_the_same_classes_keep_the_head() -> None:
    """A net that goes on with what it knew answers as before; other classes get a head of their own."""
    settings = _settings(weights="known")
    stage = Stage("teacher", settings, ["teacher"])
    source, _ = load_model(files.STARTS / "known")
    net, _ = load_model(files.STARTS / "known")
    for p in net.parameters():
        nn.init.zeros_(p)
    starts.read(stage, settings.teacher, KNOWN).into(net)
    image_NCHW = _digits(0, 6)[0][:9]
    assert torch.equal(predict(net, image_NCHW, 9), predict(source, image_NCHW, 9))
    assert starts.read(stage, settings.teacher, KNOWN[::-1]).card["started"]["head"] == "new"


def test_what_does_not_fit_is_named() -> None:
    """Another width, a file of another net, a missing file, code in a file, and no network: each says what to do."""
    few, _, _ = _few(0)
    cases = {
        "other_net": _settings(weights="known"),
        "no_weights": _settings(weights="nowhere"),
    }
    cases["other_net"] = _wider(cases["other_net"])
    for code, settings in cases.items():
        with pytest.raises(UserError) as error:
            _trained(settings, few)
        assert error.value.code == code
    with pytest.raises(UserError, match=r"blocks\.0\.norm1\.weight is \[16\]|is \[\d+.*\] there and \[\d+"):
        _trained(_wider(_settings(weights="known.safetensors")), few)
    torch.save({"weight": _Evil()}, files.STARTS / "evil.pth")
    with pytest.raises(UserError, match="is no file of weights"):
        _trained(_settings(weights="evil.pth"), few)
    assert not Path("canary").exists()


class _Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("canary"),)  # type: ignore[return-value]


def _wider(settings: Settings) -> Settings:
    return settings.model_copy(update={"teacher": settings.teacher.model_copy(update={"width": 3})})
