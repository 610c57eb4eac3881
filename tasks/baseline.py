"""Stage `baseline`: the supervised-only net with the last student's budget, which every student must beat."""

from tasks import files
from tasks.fit import fit, labeled_examples
from tasks.images.store import Images
from tasks.stage import Stage

PARAMS = ("seed", "image", "train", "baseline")


def baseline(stage: Stage) -> None:
    """Labeled images in, data/models/baseline out."""
    images = Images(stage.inputs(files.IMAGES), stage.settings.cache)
    stage.input(files.SPLIT)
    fit(stage, "baseline", stage.settings.baseline, labeled_examples(stage, images), None)
