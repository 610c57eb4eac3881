"""Training as a stage does it: settings in, weights, card and curve out. Teacher, baseline and student are this code
with another label table and another net; the loop itself is tasks/core/train.py.

Beside the weights lies what the net says about labeled images that it did not learn from (tasks/held.py).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from tasks import files, held, params, recipes, starts
from tasks.core.augment import NONE, Noise
from tasks.core.balance import class_balanced
from tasks.core.fixres import fine_tune
from tasks.core.loss import cross_entropy
from tasks.core.precision import Device, device_of
from tasks.core.predict import predict
from tasks.core.stopping import set_aside
from tasks.core.train import Examples, Loss, Validation
from tasks.curves import Curve
from tasks.errors import Held, Integrity, UserError
from tasks.features import Frozen
from tasks.images.store import Images
from tasks.models import Checkpoints, build_from, parameters, save_model
from tasks.processes import train_together
from tasks.progress import Progress
from tasks.stage import Stage

ASKED = 256  # images a net is asked about at once


@dataclass(frozen=True, slots=True)
class Labeled:
    """Images with a given class, row by row."""

    ids: list[str]
    labels: list[str]
    examples: Examples  # one-hot

    def rows(self, chosen: np.ndarray) -> "Labeled":
        """Some of the rows."""
        part = self.examples.rows(torch.from_numpy(chosen))
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
    start = starts.read(stage, spec, classes)
    card = card_of(spec, stage.settings.image, classes) | start.card
    work = Work(stage, key, spec, card, pseudo, start)
    calib = labeled_examples(stage, "calib")
    # The nets of the folds come first: each leaves its answers behind, so a kill later on costs none of them.
    crossed = [work.fold(labeled, folds, number) for number in range(0 if calib.ids else folds)]
    trained, curve = work.train(stage.name, key, labeled.examples, stage.resume())
    rows = pa.concat_tables([_ask(trained, calib, np.full(len(calib.ids), held.CALIB)), *crossed])
    out = stage.output(files.model(key))
    save_model(out, trained, work.card | {"key": key, "parameters": parameters(trained)})
    held.write(out, rows.sort_by("image_id"), classes, stage.settings.seed)
    (stage.output(files.curves(key)) / "train.csv").write_bytes(curve.path.read_bytes())
    stage.summary(parameters=parameters(trained), steps=curve.last_step, loss=round(curve.last_loss, 4))
    return out


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a net learns from, and how: of a frozen backbone the head alone, on features instead of images."""

    net: nn.Module
    learnt: Examples
    pseudo: Examples | None
    validation: Validation | None
    noise: Noise
    losses: dict[str, Any]
    frozen: Frozen | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """All that the nets of one stage have in common."""

    stage: Stage
    key: str
    spec: params.Net
    card: dict[str, Any]
    pseudo: Examples | None
    start: starts.Start = starts.NOTHING
    of_labeled: Loss | None = None  # the losses, where they are not those of `train`
    of_pseudo: Loss = cross_entropy

    def train(self, name: str, seed_of: Any, labeled: Examples, folder: Path) -> tuple[nn.Module, Curve]:
        """One net with its checkpoints in `folder`; `name` is what its progress is shown as."""
        settings, spec = self.stage.settings, self.spec
        seed = int(files.digest([settings.seed, seed_of])[:8], 16)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = build_from(self.card)
        self.start.into(net)
        recipe = recipes.recipe(spec, settings.train, self.pseudo)
        lesson = self._lesson(net, labeled, _device(recipe.device), seed, name)
        checkpoints = Checkpoints(folder)
        state = checkpoints.latest()
        done = int(state["step"]) if state else 0
        if done:
            print(f"{name}: continuing at step {done} of {spec.steps}", flush=True)
        curve = Curve(folder / "train.csv", done, validated=lesson.validation is not None)
        curve.show_as(name)
        with Progress(spec.steps, f"{name}: {spec.net} x{spec.width}", "steps", done) as progress:

            def log(row: dict[str, float]) -> None:
                curve.add(row)
                progress.advance(int(row["step"]) - progress.done, f"loss {row['loss']:.3f}")

            try:
                trained = train_together(
                    settings.train.processes,
                    lesson.net,
                    lesson.learnt,
                    lesson.pseudo,
                    recipe,
                    lesson.noise,
                    seed,
                    **lesson.losses,
                    told=recipes.told(spec),
                    validation=lesson.validation,
                    state=state,
                    save=checkpoints.write,
                    save_every=settings.train.checkpoint_every,
                    log=log,
                )
            except FloatingPointError as error:
                raise _not_finite(name, str(error)) from None
        trained = lesson.frozen.whole(trained) if lesson.frozen else trained
        if spec.fixres.steps:
            trained = fine_tune(
                trained, lesson.learnt, recipe, spec.fixres.steps, spec.fixres.lr, seed, **lesson.losses
            )
        if curve.last_step < spec.steps:
            print(f"{name}: the best of {curve.last_step} steps; more did not help (stop.patience)", flush=True)
        return trained, curve

    def _lesson(self, net: nn.Module, labeled: Examples, device: torch.device, seed: int, name: str) -> Lesson:
        """What the settings make of these images: some kept aside, sampled anew, or seen by a frozen backbone once."""
        spec = self.spec
        learnt, validation = _kept_aside(labeled, spec.stop, seed)
        learnt = class_balanced(learnt, seed) if spec.sampling == "balanced" else learnt
        losses = recipes.losses(spec, self.stage.settings.train, learnt, self.pseudo, self.of_labeled, self.of_pseudo)
        noise = recipes.noise(spec)
        if spec.start.backbone != "frozen":
            return Lesson(net, learnt, self.pseudo, validation, noise, losses)
        frozen = Frozen(net, self.card, spec.start, device)
        learnt, validation = frozen.examples(learnt, noise, seed, name), frozen.validation(validation, name)
        pseudo = frozen.examples(self.pseudo, noise, seed, name) if self.pseudo else None
        return Lesson(frozen.head, learnt, pseudo, validation, NONE, losses, frozen)

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


def _device(name: Device) -> torch.device:
    try:
        return device_of(name)
    except ValueError as error:
        raise UserError("no_gpu", str(error), "see train.device in docs/params.md") from None


def _not_finite(name: str, why: str) -> Held:
    return Held("not_finite", f"{name}: {why}", "lower train.lr or set train.clip; see the curve")


def card_of(spec: params.Net, image: params.Image, classes: list[str]) -> dict[str, Any]:
    """All that it takes to build a net again, and how it was trained."""
    return spec.model_dump() | image.model_dump() | {"classes": classes}


def _kept_aside(labeled: Examples, stop: params.Stop, seed: int) -> tuple[Examples, Validation | None]:
    """What is learnt from, and what early stopping looks at instead: no image of calib, gate or test is touched."""
    if not stop.patience:
        return labeled, None
    aside_N = set_aside(labeled.target_NC, stop.share, torch.Generator().manual_seed(seed))
    if not aside_N.any():
        what = f"stop.share: {stop.share} of {len(aside_N)} labeled images is not one image of any class"
        raise UserError("nothing_to_look_at", what, "raise stop.share, or set stop.patience to 0")
    aside = labeled.rows(aside_N)
    return labeled.rows(~aside_N), Validation(aside.image_NCHW, aside.target_NC, stop.every, stop.patience)
