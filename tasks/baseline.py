"""Stage `baseline`: the supervised-only net with the last student's budget, which every student must beat."""

from tasks.fit import fit, labeled_examples
from tasks.stage import Stage

PARAMS = ("seed", "image", "train", "baseline")


def baseline(stage: Stage) -> None:
    """Labeled images in, data/models/baseline out. It labels nothing, so no nets are trained to cross-fit it."""
    fit(stage, "baseline", stage.settings.baseline, labeled_examples(stage), None)
