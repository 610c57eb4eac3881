"""Stage `student@rK`: train a net no smaller than its teacher, under noise, on labels and pseudo-labels together."""

import torch
from torch.nn.functional import one_hot

from tasks import files
from tasks.core.train import Examples
from tasks.errors import UserError
from tasks.fit import fit, labeled_examples, load
from tasks.images.store import Images
from tasks.models import CARD, build_from, parameters
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
    spec = entry.student
    size = parameters(build_from(teacher_card | spec.model_dump(include={"net", "width"})))
    if size < teacher_card["parameters"]:
        what = f"rounds.{round_}.student: {spec.net} x{spec.width} has {size:,} parameters, fewer than its teacher "
        what += (
            f"{teacher_card['key']} ({teacher_card['net']} x{teacher_card['width']}, {teacher_card['parameters']:,})"
        )
        raise UserError("student_too_small", what, f"raise rounds.{round_}.student.width or choose a larger net")
    pseudo = pseudo_examples(stage, images, round_)
    fit(stage, round_, spec, labeled_examples(stage), pseudo, stage.settings.calibrate.folds)


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
