"""FixRes: what learns, what stays, and that it mends what another size of the images breaks."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tasks.core.augment import resized
from tasks.core.fixres import CLEAN, fine_tune, tail
from tasks.core.predict import predict
from tasks.core.train import Examples, train
from tasks.nets.catalog import build
from tests.core.small_training import RECIPE, examples, net


def test_only_the_head_and_the_last_batch_norm_learn() -> None:
    """Every other weight and statistic keeps its bits, and everything may learn again afterwards."""
    before = net()
    after = fine_tune(net(), examples(8), RECIPE, steps=3, lr=0.1, seed=0)
    changed = {name for name, value in after.state_dict().items() if not torch.equal(value, before.state_dict()[name])}
    assert changed == {
        f"norm.{n}" for n in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    } | {
        "head.weight",
        "head.bias",
    }
    assert not after.training
    assert all(p.requires_grad for p in after.parameters())


@pytest.mark.parametrize("name", ["lenet5", "alexnet_small", "vgg11_small", "resnet9", "wrn16", "torchvision/resnet18"])
def test_every_family_has_a_tail(name: str) -> None:
    """Its last layer maps to the classes; the batch norm, where there is one, is the last in use."""
    one = build(name, channels=1, classes=7, width=1, dropout=0.0, stochastic_depth=0.0)
    head, *norms = tail(one)
    assert isinstance(head, nn.Linear)
    assert head.out_features == 7
    assert len(norms) == any(isinstance(m, nn.BatchNorm2d) for m in one.modules())


def test_it_mends_another_resolution() -> None:
    """A net that learnt on images of half the size is surer of the truth on full ones after a few steps."""
    labeled, unseen = _large(24), _large(60)
    recipe = replace(RECIPE, steps=40, batch=12)
    learnt = train(net(noise=0.0), labeled, None, recipe, replace(CLEAN, size=8), seed=0)
    before = _loss(learnt, unseen)
    after = _loss(fine_tune(learnt, labeled, recipe, steps=15, lr=0.02, seed=0), unseen)
    assert after < 0.9 * before


def _large(n: int) -> Examples:
    """The small images at twice their size."""
    given = examples(n)
    return Examples(resized(given.image_NCHW, 16), given.target_NC, given.copies_N)


def _loss(one: nn.Module, of: Examples) -> float:
    prob_NC: Tensor = predict(one, of.image_NCHW, 32)
    return float(-(of.target_NC * prob_NC.log()).sum(dim=1).mean())
