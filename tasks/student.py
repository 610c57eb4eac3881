"""Stage `student@rK`: train a net no smaller than its teacher, under noise, on labels and pseudo-labels together."""

from functools import partial
from typing import Any

import torch
from torch.nn.functional import one_hot

from tasks import files
from tasks.core.train import Examples
from tasks.errors import UserError
from tasks.fit import fit, labeled_examples, load
from tasks.images.store import Images
from tasks.models import CARD, build_from, parameters
from tasks.nets.ladder import grown
from tasks.nets.names import AUTO, mistake
from tasks.params import Student
from tasks.stage import Stage

PARAMS = ("seed", "image", "train", "calibrate", "rounds.{key}.teacher", "rounds.{key}.student")


def student(stage: Stage, round_: str) -> None:
    """Labeled images and the round's label table in, data/models/rK out."""
    entry = stage.settings.rounds[round_]
    images = Images(stage.inputs(files.IMAGES), stage.settings.cache)
    stage.input(files.labels(round_))
    cleared = files.read_json(stage.input(files.drift(round_) / "cleared.json"))
    if cleared["labels"] != files.manifest_hash(files.labels(round_)):
        what = f"drift@{round_} has not looked at the labels in {files.labels(round_)}, or held them"
        raise UserError("not_cleared", what, f"run `dvc repro student@{round_}`, which runs drift@{round_} first")
    teacher_card = files.read_json(stage.input(files.champion(entry.teacher), only=[CARD]) / CARD)
    spec = _sized(round_, entry.student, teacher_card)
    size = parameters(build_from(teacher_card | spec.model_dump(include={"net", "width"})))
    if size < teacher_card["parameters"]:
        what = f"rounds.{round_}.student: {spec.net} x{spec.width} has {size:,} parameters, fewer than its teacher "
        what += (
            f"{teacher_card['key']} ({teacher_card['net']} x{teacher_card['width']}, {teacher_card['parameters']:,})"
        )
        raise UserError("student_too_small", what, f"raise rounds.{round_}.student.width or choose a larger net")
    pseudo = pseudo_examples(stage, images, round_)
    fit(stage, round_, spec, labeled_examples(stage), pseudo, stage.settings.calibrate.folds)


def _sized(round_: str, spec: Student, teacher_card: dict[str, Any]) -> Student:
    """The student's settings with the net that `auto` stands for."""
    if spec.net != AUTO:
        return spec
    least = spec.grow * teacher_card["parameters"]
    where = f"rounds.{round_}.student"
    try:
        net, width = grown(teacher_card["net"], teacher_card["width"], least, partial(_size, teacher_card))
    except ValueError as error:
        fix = f"lower {where}.grow, or name a larger net in {where}.net"
        raise UserError("no_larger_net", f"{where}.net: auto: {error}", fix) from None
    if problem := mistake(net, width, spec.stochastic_depth):
        raise UserError("bad_settings", f"{where}.net: auto: {problem}", f"change {where}.stochastic_depth")
    print(f"student@{round_}: {net} x{width}, for {least:,.0f} parameters or more (grow: {spec.grow:g})", flush=True)
    return spec.model_copy(update={"net": net, "width": width})


def _size(card: dict[str, Any], net: str, width: int) -> int:
    """Parameters of a net for the card's images and classes; nothing is drawn."""
    with torch.device("meta"):
        return parameters(build_from(card | {"net": net, "width": width, "stochastic_depth": 0.0}))


def pseudo_examples(stage: Stage, images: Images, round_: str) -> Examples:
    """The pool images a round learns from: those with copies in its label table."""
    classes = files.read_json(files.LABELED / "classes.json")
    rows = files.read_table(files.labels(round_) / "labels.parquet").to_pandas()
    rows = rows[rows["copies"] > 0]
    hard = one_hot(torch.tensor([classes.index(name) for name in rows["label"]]), len(classes)).float()
    target_NC = torch.stack(
        [row if soft is None else torch.tensor(soft) for row, soft in zip(hard, rows["soft"], strict=True)]
    )
    copies_N = torch.tensor(rows["copies"].to_numpy(dtype="int64"))
    return Examples(load(stage, images, list(rows["image_id"])), target_NC, copies_N)
