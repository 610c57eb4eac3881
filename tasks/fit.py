"""Training as a stage does it: settings in, weights, card and curve out. Teacher, baseline and student are this code
with another label table and another net; the loop itself is tasks/core/train.py."""

import csv
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tasks import files, params
from tasks.core.augment import Noise
from tasks.core.train import Examples, Recipe, train
from tasks.errors import Held
from tasks.images.store import Images
from tasks.models import Checkpoints, build_from, parameters, save_model
from tasks.progress import Progress
from tasks.stage import Stage

CURVE = ("step", "loss", "loss_labeled", "loss_pseudo", "lr")


def labeled_examples(stage: Stage) -> Examples:
    """The labeled images of the split, one-hot."""
    images = Images(stage.input(files.LABELED))
    classes = files.read_json(files.LABELED / "classes.json")
    table = files.read_table(files.LABELED / "labeled.parquet").to_pydict()
    index = torch.tensor([classes.index(name) for name in table["label"]])
    target_NC = nn.functional.one_hot(index, len(classes)).float()
    return Examples(load(stage, images, table["image_id"]), target_NC, torch.ones(len(index), dtype=torch.int64))


def load(stage: Stage, images: Images, ids: list[str]) -> Tensor:
    """Images by id in the form the settings ask for, uint8 NCHW."""
    return images.load(ids, stage.settings.image)


def fit(stage: Stage, key: str, spec: params.Net, labeled: Examples, pseudo: Examples | None) -> None:
    """Train the net `key`, continuing a killed run, and stage its weights, card and curve.

    Raises Held when the loss is not finite.
    """
    settings = stage.settings
    card = _card(spec, settings.image, files.read_json(files.LABELED / "classes.json"))
    seed = int(files.digest([settings.seed, key])[:8], 16)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build_from(card)
    recipe = Recipe(
        steps=spec.steps,
        ratio=spec.ratio if isinstance(spec, params.Student) else 0,
        **settings.train.model_dump(exclude={"checkpoint_every"}),
    )
    checkpoints = Checkpoints(stage.resume())
    state = checkpoints.latest()
    done = int(state["step"]) if state else 0
    if done:
        print(f"{stage.name}: continuing at step {done} of {spec.steps}", flush=True)
    curve = _Curve(checkpoints.folder / "train.csv", done)
    with Progress(spec.steps, f"{stage.name}: {spec.net} x{spec.width}", "steps", done) as progress:

        def log(row: dict[str, float]) -> None:
            curve.add(row)
            progress.advance(int(row["step"]) - progress.done)

        try:
            trained = train(
                net,
                labeled,
                pseudo,
                recipe,
                Noise(**spec.noise.model_dump()),
                seed,
                state=state,
                save=checkpoints.write,
                save_every=settings.train.checkpoint_every,
                log=log,
            )
        except FloatingPointError as error:
            raise Held(
                "not_finite", f"{stage.name}: {error}", "lower train.lr or set train.clip; see the curve"
            ) from None
    save_model(stage.output(files.model(key)), trained, card | {"parameters": parameters(trained)})
    (stage.output(files.curves(key)) / "train.csv").write_bytes(curve.path.read_bytes())
    stage.summary(parameters=parameters(trained), steps=spec.steps, loss=round(curve.last_loss, 4))


def _card(spec: params.Net, image: params.Image, classes: list[str]) -> dict[str, Any]:
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
