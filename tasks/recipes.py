"""What the settings of a net say, as arguments of the training loop (tasks/core/train.py)."""

from functools import partial
from typing import Any

from tasks import params
from tasks.core.augment import Noise
from tasks.core.balance import class_shares, logit_adjusted
from tasks.core.loss import cross_entropy
from tasks.core.targets import Told, as_stored, fixmatch, mean_teacher, weighted
from tasks.core.train import Examples, Loss, Recipe
from tasks.core.tuning import ALIKE, Tuning


def recipe(spec: params.Net, train: params.Train, pseudo: Examples | None) -> Recipe:
    """Without pseudo-labeled images there is no ratio."""
    ratio = spec.ratio if pseudo and isinstance(spec, params.Taught) else 0
    return Recipe(steps=spec.steps, ratio=ratio, tuning=tuning(spec.start), **train.recipe())


def tuning(start: params.Start) -> Tuning:
    """How much each layer learns; a net that starts from nothing, or whose backbone is frozen, has no such layers."""
    if start.weights == "none" or start.backbone == "frozen":
        return ALIKE
    return Tuning(start.backbone_lr, start.layer_decay, start.unfreeze_every)


def noise(spec: params.Net) -> Noise:
    """The input noise."""
    return Noise(**spec.noise.model_dump())


def told(spec: params.Net) -> Told:
    """What a net learns of pool images; a weak view has the crop and the flip of the strong one, and no more."""
    if not isinstance(spec, params.Taught) or spec.consistency.method == "none":
        return as_stored
    wanted = spec.consistency
    weak = Noise(num_ops=0, magnitude=0.0, crop=spec.noise.crop, flip=spec.noise.flip, cutout=0)
    methods: dict[str, Told] = {
        "fixmatch": partial(fixmatch, threshold=wanted.threshold, weak=weak),
        "mean_teacher": partial(mean_teacher, ramp=wanted.ramp, weak=weak),
    }
    return partial(weighted, told=methods[wanted.method], weight=wanted.weight)


def losses(
    spec: params.Net,
    train: params.Train,
    labeled: Examples,
    pseudo: Examples | None,
    of_labeled: Loss | None,
    of_pseudo: Loss,
) -> dict[str, Any]:
    """`of_labeled` and `of_pseudo`, each adjusted by the class shares of its own images where that is wanted."""
    of_labeled = of_labeled or partial(cross_entropy, smoothing=train.label_smoothing)
    if tau := spec.logit_adjustment:
        of_labeled = partial(logit_adjusted, of=of_labeled, share_C=class_shares(labeled), tau=tau)
        if pseudo:
            of_pseudo = partial(logit_adjusted, of=of_pseudo, share_C=class_shares(pseudo), tau=tau)
    return {"of_labeled": of_labeled, "of_pseudo": of_pseudo}
