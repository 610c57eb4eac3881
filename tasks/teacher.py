"""Stage `teacher`: train the first teacher, r0, on the labels alone."""

from tasks import files
from tasks.fit import fit, labeled_examples
from tasks.images.store import Images
from tasks.stage import Stage

PARAMS = ("seed", "image", "train", "teacher")


def teacher(stage: Stage) -> None:
    """Labeled images in, data/models/r0 out."""
    images = Images(stage.inputs(files.IMAGES), stage.settings.cache)
    stage.input(files.SPLIT)
    fit(stage, "r0", stage.settings.teacher, labeled_examples(stage, images), None)
