"""Training as a stage does it: settings in, weights, card and curve out. Teacher, baseline and student are this code
with another label table and another net; the loop itself is tasks/core/train.py.

Beside the weights lies what the net says about labeled images that it did not learn from (tasks/held.py).
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from tasks import files, held, params
from tasks.core.augment import Noise
from tasks.core.loss import cross_entropy
from tasks.core.predict import predict
from tasks.core.train import Examples, Loss, Recipe, train
from tasks.errors import Held, Integrity
from tasks.images.store import Images
from tasks.models import Checkpoints, build_from, parameters, save_model
from tasks.progress import Progress
from tasks.stage import Stage

CURVE = ("step", "loss", "loss_labeled", "loss_pseudo", "lr")
ASKED = 256  # images a net is asked about at once


@dataclass(frozen=True, slots=True)
class Labeled:
    """Images with a given class, row by row."""

    ids: list[str]
    labels: list[str]
    examples: Examples  # one-hot

    def rows(self, chosen: np.ndarray) -> "Labeled":
        """Some of the rows."""
        e, at = self.examples, torch.from_numpy(chosen)
        part = Examples(e.image_NCHW[at], e.target_NC[at], e.copies_N[at])
        return Labeled([self.ids[i] for i in chosen], [self.labels[i] for i in chosen], part)


def labeled_examples(stage: Stage, name: str = "labeled") -> Labeled:
    """The labeled images of the split, or those of `calib`."""
    images = Images(stage.input(files.LABELED))
    classes = files.read_json(files.LABELED / "classes.json")
    table = files.read_table(files.LABELED / f"{name}.parquet").to_pydict()
    index = torch.tensor([classes.index(name) for name in table["label"]], dtype=torch.int64)
    target_NC = nn.functional.one_hot(index, len(classes)).float()
    examples = Examples(load(stage, images, table["image_id"]), target_NC, torch.ones(len(index), dtype=torch.int64))
    return Labeled(table["image_id"], table["label"], examples)


def load(stage: Stage, images: Images, ids: list[str]) -> Tensor:
    """Images by id in the form the settings ask for, uint8 NCHW."""
    return images.load(ids, stage.settings.image)


def fit(stage: Stage, key: str, spec: params.Net, labeled: Labeled, pseudo: Examples | None, folds: int = 0) -> Path:
    """Train the net `key`, continuing a killed run, and stage its weights, card and curve, and what it says of images
    that it did not learn from. Without a calib split that takes `folds` further nets. Raises Held when the loss is not
    finite. Returns the folder of the model.
    """
    classes = files.read_json(files.LABELED / "classes.json")
    work = Work(stage, key, spec, card_of(spec, stage.settings.image, classes), pseudo)
    calib = labeled_examples(stage, "calib")
    # The nets of the folds come first: each leaves its answers behind, so a kill later on costs none of them.
    crossed = [work.fold(labeled, folds, number) for number in range(0 if calib.ids else folds)]
    trained, curve = work.train(stage.name, key, labeled.examples, stage.resume())
    rows = pa.concat_tables([_ask(trained, calib, np.full(len(calib.ids), held.CALIB)), *crossed])
    out = stage.output(files.model(key))
    save_model(out, trained, work.card | {"key": key, "parameters": parameters(trained)})
    held.write(out, rows.sort_by("image_id"), classes, stage.settings.seed)
    (stage.output(files.curves(key)) / "train.csv").write_bytes(curve.path.read_bytes())
    stage.summary(parameters=parameters(trained), steps=spec.steps, loss=round(curve.last_loss, 4))
    return out


@dataclass(frozen=True, slots=True)
class Work:
    """All that the nets of one stage have in common."""

    stage: Stage
    key: str
    spec: params.Net
    card: dict[str, Any]
    pseudo: Examples | None
    of_labeled: Loss | None = None  # the losses, where they are not those of `train`
    of_pseudo: Loss = cross_entropy

    def train(self, name: str, seed_of: Any, labeled: Examples, folder: Path) -> tuple[nn.Module, "_Curve"]:
        """One net with its checkpoints in `folder`; `name` is what its progress is shown as."""
        settings, spec = self.stage.settings, self.spec
        seed = int(files.digest([settings.seed, seed_of])[:8], 16)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = build_from(self.card)
        recipe = Recipe(
            steps=spec.steps,
            ratio=spec.ratio if self.pseudo and isinstance(spec, params.Student) else 0,
            **settings.train.model_dump(exclude={"checkpoint_every"}),
        )
        checkpoints = Checkpoints(folder)
        state = checkpoints.latest()
        done = int(state["step"]) if state else 0
        if done:
            print(f"{name}: continuing at step {done} of {spec.steps}", flush=True)
        curve = _Curve(folder / "train.csv", done)
        with Progress(spec.steps, f"{name}: {spec.net} x{spec.width}", "steps", done) as progress:

            def log(row: dict[str, float]) -> None:
                curve.add(row)
                progress.advance(int(row["step"]) - progress.done)

            try:
                trained = train(
                    net,
                    labeled,
                    self.pseudo,
                    recipe,
                    Noise(**spec.noise.model_dump()),
                    seed,
                    of_labeled=self.of_labeled,
                    of_pseudo=self.of_pseudo,
                    state=state,
                    save=checkpoints.write,
                    save_every=settings.train.checkpoint_every,
                    log=log,
                )
            except FloatingPointError as error:
                raise _not_finite(name, str(error)) from None
        return trained, curve

    def fold(self, labeled: Labeled, folds: int, number: int) -> pa.Table:
        """What a net of the same recipe that learnt from the other folds says about this one."""
        folder = self.stage.resume() / f"fold-{number}"
        folder.mkdir(exist_ok=True)
        done = folder / held.HELD
        if done.is_file():
            try:
                return files.read_table(done)
            except Integrity:
                print(f"{done} is damaged; the net of this fold is trained again", flush=True)
        fold_N = held.folds_of(labeled.ids, labeled.labels, folds, self.stage.settings.seed)
        others, ours = labeled.rows(np.flatnonzero(fold_N != number)), labeled.rows(np.flatnonzero(fold_N == number))
        name = f"{self.stage.name}, fold {number + 1} of {folds}"
        net, _ = self.train(name, [self.key, "fold", number, folds], others.examples, folder)
        rows = _ask(net, ours, np.full(len(ours.ids), number))
        files.write_table(rows, done.with_suffix(".tmp"))
        done.with_suffix(".tmp").replace(done)
        for checkpoint in folder.glob("step-*"):
            checkpoint.unlink()
        return rows


def _ask(net: nn.Module, labeled: Labeled, fold_N: np.ndarray) -> pa.Table:
    """The rows of held.parquet. Held where the net says what is no probability: then its weights are not finite."""
    classes = labeled.examples.target_NC.shape[1]
    prob_NC = np.empty((0, classes), np.float32)
    if labeled.ids:
        prob_NC = predict(net, labeled.examples.image_NCHW, ASKED).numpy()
    if not np.isfinite(prob_NC).all():
        raise _not_finite("the trained net", "it answers nan where a probability belongs")
    return held.table(labeled.ids, labeled.labels, fold_N, prob_NC)


def _not_finite(name: str, why: str) -> Held:
    return Held("not_finite", f"{name}: {why}", "lower train.lr or set train.clip; see the curve")


def card_of(spec: params.Net, image: params.Image, classes: list[str]) -> dict[str, Any]:
    """All that it takes to build a net again, and how it was trained."""
    return spec.model_dump() | image.model_dump() | {"classes": classes}


class _Curve:
    """The rows of a training curve, kept beside the checkpoints so that a resumed run has all of them."""

    def __init__(self, path: Path, done: int) -> None:
        self.path, self.last_loss = path, float("nan")
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        rows = list(csv.DictReader(io.StringIO(text)))
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, CURVE)
            writer.writeheader()
            writer.writerows(row for row in rows if int(row["step"]) <= done)

    def add(self, row: dict[str, float]) -> None:
        self.last_loss = row["loss"]
        with self.path.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, CURVE, extrasaction="ignore", restval="")
            writer.writerow({name: f"{v:.6g}" for name, v in row.items()} | {"step": int(row["step"])})
