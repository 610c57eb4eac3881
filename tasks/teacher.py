"""Stage `teacher`: train the first teacher, r0, on the labels alone."""

from tasks.fit import fit, labeled_examples
from tasks.stage import Stage

PARAMS = ("seed", "image", "train", "calibrate", "teacher")


def teacher(stage: Stage) -> None:
    """Labeled images in, data/models/r0 out."""
    fit(stage, "r0", stage.settings.teacher, labeled_examples(stage), None, stage.settings.calibrate.folds)
