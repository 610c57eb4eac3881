"""A project of handwritten digits for benchmarks/disasters.py, and what can be planted in it."""

import io
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from tasks import files, held, params, stage
from tasks.__main__ import STAGES

ROOT = Path(__file__).resolve().parent.parent
STEPS = {"teacher": 100, "student": 180}
SIZE = 8  # pixels, as the digits come; params.yaml has 16
WIDTH = 1  # params.yaml has 2
NOISE = {"dropout": 0.1, "stochastic_depth": 0.0}  # as the teacher's: what nets of that width can bear
SPLIT = {"labels": 50, "calib": 100, "test": 200}


@dataclass(frozen=True, slots=True)
class Scale:
    """What differs from params.yaml: the pictures' size, and the images held out for the gate."""

    shipped: bool = False  # nets and steps are those of params.yaml; otherwise smaller and shorter
    gate: int = 400

    def apply(self, raw: dict[str, Any]) -> None:
        """Change the settings."""
        raw["split"].update(SPLIT, gate=self.gate)
        raw["scan"]["settle_seconds"] = 0
        raw["image"]["size"] = SIZE
        if self.shipped:
            return
        for net in (raw["teacher"], raw["baseline"]):
            net.update(steps=STEPS["teacher"], width=WIDTH)
        for entry in raw["rounds"].values():
            entry["student"].update(steps=STEPS["student"], width=WIDTH, noise=raw["teacher"]["noise"], **NOISE)


class Work:
    """A project folder in which the real stages run, each a process of its own with an exit code.

    They are forked from this one, which has loaded torch and all stages: that saves some five seconds a stage.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed

    def make(self, scale: Scale) -> None:
        """Code and settings, nothing run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for name in ("tasks", "data/decisions"):
            shutil.copytree(ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "params.yaml", self.folder)
        self.edit(lambda raw: raw.update(seed=self.seed))
        self.edit(scale.apply)

    def edit(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change params.yaml."""
        path = self.folder / "params.yaml"
        raw = yaml.safe_load(path.read_text())
        change(raw)
        path.write_text(yaml.safe_dump(raw, sort_keys=False))

    def run(self, stages: list[str]) -> dict[str, Any]:
        """Run stages until one stops: which, its exit code and its words; none of it when all passed."""
        for name in stages:
            if exit_code := self.apart(lambda name=name: stage.main(*f"{name} ".split(" ")[:2])):
                said = (self.folder / "said.txt").read_text()
                code = re.search(r"error \[(\w+)\]: (.*)", said)
                return {
                    "stage": name.replace(" ", "@"),
                    "exit": exit_code,
                    "code": code and code[1],
                    "what": code[2] if code else said[-500:],
                }
        return {}

    def apart(self, body: Callable[[], int]) -> int:
        """Call `body` in this folder in a process of its own, its words in said.txt; the exit code."""
        for name in STAGES:  # before the fork, so that no child has to load them
            import_module(f"tasks.{name}")
        if child := os.fork():
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        try:
            os.chdir(self.folder)
            words = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(words, 1)
            os.dup2(words, 2)
            code = body()
        except BaseException:
            traceback.print_exc()
            code = 70
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def plant(self, change: Callable[["Work"], None]) -> None:
        """Do that to the project."""
        if self.apart(lambda: change(self) or 0):
            raise SystemExit((self.folder / "said.txt").read_text())

    def path(self, artefact: Path) -> Path:
        """An artefact of this project."""
        return self.folder / artefact

    def rewrite(self, artefact: Path, change: Callable[[Path], None]) -> None:
        """Change files of an artefact and give it a valid record again: the disaster is in the data, not in a disk."""
        folder = self.path(artefact)
        record = files.read_json(folder / files.MANIFEST)
        (folder / files.MANIFEST).unlink()
        change(folder)
        record.pop("files")
        files.seal(folder, record)

    def decision(self, round_: str) -> dict[str, Any]:
        """decision.json of a round's champion."""
        found: dict[str, Any] = files.read_json(self.path(files.champion(round_)) / "decision.json")
        return found


def _net(work: Work, artefact: Path, change: Callable[[Any], None]) -> None:
    """Change the weights of a net, and what it says of held-out labels."""
    from tasks.models import load_model, save_model

    def rewrite(folder: Path) -> None:
        net, card = load_model(folder)
        change(net)
        save_model(folder, net, card)
        _ask_again(work, folder, net, card["classes"])

    work.rewrite(artefact, rewrite)


def _ask_again(work: Work, folder: Path, net: Any, classes: list[str]) -> None:
    from tasks.core.predict import predict
    from tasks.images.store import Images

    image = params.load(work.folder / "params.yaml").image
    calib = files.read_table(work.path(files.LABELED) / "calib.parquet").to_pydict()
    images = Images(work.path(files.LABELED)).load(calib["image_id"], image)
    prob_NC = predict(net, images, 256).numpy()
    rows = held.table(calib["image_id"], calib["label"], [held.CALIB] * len(prob_NC), prob_NC)
    held.write(folder, rows, classes, 0)


def _bias(value: float) -> Callable[[Any], None]:
    """Add to what the last layer says of class 3."""

    def change(net: Any) -> None:
        import torch

        with torch.no_grad():
            list(net.parameters())[-1][3] += value

    return change


def nothing_accepted(work: Work) -> None:
    work.edit(lambda raw: raw["rounds"]["r1"]["curate"].update(threshold=1.0))


def one_class_collapse(work: Work) -> None:
    _net(work, files.champion("r0"), _bias(+20.0))


def empty_class(work: Work) -> None:
    _net(work, files.champion("r0"), _bias(-20.0))


def shuffled_teacher(work: Work) -> None:
    _labels(work, lambda labels, rng: rng.permutation(labels))


def label_flips(work: Work) -> None:
    """Half of all given labels, those for calibration included, are another class at random."""

    def flip(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        classes = np.unique(labels)
        other = classes[(np.searchsorted(classes, labels) + rng.integers(1, len(classes), len(labels))) % len(classes)]
        return np.where(rng.random(len(labels)) < 0.5, other, labels)

    _labels(work, flip, ("labeled", "calib"))


def _labels(work: Work, change: Callable[..., np.ndarray], names: tuple[str, ...] = ("labeled",)) -> None:
    rng = np.random.default_rng(work.seed)

    def rewrite(folder: Path) -> None:
        for name in names:
            table = files.read_table(folder / f"{name}.parquet")
            changed = change(np.array(table["label"].to_pylist()), rng).tolist()
            at = table.schema.get_field_index("label")
            files.write_table(table.set_column(at, "label", pa.array(changed)), folder / f"{name}.parquet")

    work.rewrite(files.LABELED, rewrite)


def not_a_number(work: Work) -> None:
    work.edit(lambda raw: (raw["train"].update(lr=100.0, warmup=0), raw["train"].update(ema=0.0)))


def leaked_test_image(work: Work) -> None:
    """A sealed test image stands in the pool too."""
    leaked = files.read_table(work.path(files.SEALED) / "test.parquet")["image_id"][0].as_py()

    def rewrite(folder: Path) -> None:
        table = files.read_table(folder / "pool.parquet").to_pylist()
        table = sorted([*table, {**table[0], "image_id": leaked, "status": "pool"}], key=lambda row: row["image_id"])
        schema = files.read_table(folder / "pool.parquet").schema
        files.write_table(pa.Table.from_pylist(table, schema=schema), folder / "pool.parquet")

    work.rewrite(files.SPLIT, rewrite)


def sealed(work: Work) -> dict[str, list[str]]:
    """Some 1,200 images with their labels: on the test alone "3 points worse" would be known to 2 points at best."""
    names = ("test", "truth")
    tables = [files.read_table(work.path(files.SEALED) / f"{name}.parquet", ["image_id", "label"]) for name in names]
    found: dict[str, list[str]] = pa.concat_tables(tables).to_pydict()
    return found


def worse_student(work: Work) -> None:
    """Noise on the student's weights, until it is 3 points worse than its teacher on test and hidden truth."""
    import torch

    from tasks.core.predict import predict
    from tasks.images.store import Images
    from tasks.models import load_model

    test = sealed(work)
    image = params.load(work.folder / "params.yaml").image
    images = Images(work.path(files.IMAGES)).load(test["image_id"], image)

    def right(net: Any, classes: list[str]) -> float:
        said = predict(net, images, 256).argmax(dim=1).tolist()
        return float(np.mean([classes[c] == label for c, label in zip(said, test["label"], strict=True)]))

    teacher, card = load_model(work.path(files.champion("r0")))
    wanted = right(teacher, card["classes"]) - 0.03

    def spoil(net: Any) -> None:
        clean = {name: t.clone() for name, t in net.state_dict().items()}
        for sd in np.geomspace(0.01, 3, 200):
            torch.manual_seed(work.seed)
            noisy = {n: t + sd * t.std() * torch.randn_like(t) if t.ndim > 1 else t for n, t in clean.items()}
            net.load_state_dict(noisy)
            if right(net, card["classes"]) <= wanted:
                return

    _net(work, files.model("r1"), spoil)


def foreign_pool(work: Work) -> None:
    """Half of the pool is from another data set: scikit-learn's faces are not at hand, so patches of its two photos."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(work.seed)
    photos = [photo.mean(axis=2) for photo in load_sample_images().images]
    pool = files.read_table(work.path(files.SPLIT) / "pool.parquet", ["image_id", "status"]).to_pandas()
    ids = pool.loc[pool["status"] == "pool", "image_id"].to_numpy()
    chosen = set(rng.choice(ids, len(ids) // 2, replace=False))

    def rewrite(folder: Path) -> None:
        for path in files.parts(folder):
            rows = files.read_table(path).to_pylist()
            for row in rows:
                if row["image_id"] in chosen:
                    row["bytes"] = _patch(photos[int(rng.integers(2))], rng)
            files.write_images(pa.Table.from_pylist(rows, schema=files.read_table(path).schema), path)

    work.rewrite(files.images("digits"), rewrite)


def _patch(photo: np.ndarray, rng: np.random.Generator) -> bytes:
    from PIL import Image

    y, x = rng.integers(0, photo.shape[0] - 96), rng.integers(0, photo.shape[1] - 96)
    stream = io.BytesIO()
    Image.fromarray(photo[y : y + 96, x : x + 96].astype(np.uint8)).resize((8, 8)).save(stream, "PNG")
    return stream.getvalue()
