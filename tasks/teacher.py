"""Stage `teacher`: train the first teacher, r0, on the labels alone. Until a student is promoted it is the champion."""

from tasks import files
from tasks.champions import crown
from tasks.fit import fit, labeled_examples
from tasks.stage import Stage

PARAMS = ("seed", "image", "train", "calibrate", "teacher")
FIRST = {
    "round": "r0",
    "champion": "r0",
    "verdict": "first",
    "promoted": True,
    "holds": 0,
    "stop": False,
    "anchor": "r0",
    "history": [],
}


def teacher(stage: Stage) -> None:
    """Labeled images in, data/models/r0 and data/champions/r0 out."""
    net = fit(stage, "r0", stage.settings.teacher, labeled_examples(stage), None, stage.settings.calibrate.folds)
    crown(stage, net, files.champion("r0"), FIRST)
