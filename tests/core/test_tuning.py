"""Layers, their rates, and when they may learn; features that depend on nothing but the image."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from tasks.core.head import features, last_layer
from tasks.core.optimizer import sgd
from tasks.core.snapshot import State
from tasks.core.train import train
from tasks.core.tuning import Tuning, layers, rates
from tests.core.small_training import EXAMPLES, NOISE, PSEUDO, RECIPE, net


def test_layers_go_from_the_image_to_the_head_and_rates_fall_the_other_way() -> None:
    """Every weight stands in one layer; the head learns at the full rate, each layer below at `decay` of the next."""
    found = layers(net())
    assert sorted(name for names in found for name in names) == sorted(n for n, _ in net().named_parameters())
    assert (found[0][0], found[-1]) == ("stem.weight", ["head.weight", "head.bias"])
    rate = rates(net(), Tuning(rate=0.5, decay=0.1))
    assert [rate[names[0]] for names in found[::-1][:4]] == pytest.approx([1, 0.5, 0.05, 0.005])
    groups = sgd(net(), 0.1, 0.9, 1e-4, Tuning(0.5, 0.1, 0)).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(net().parameters()))


@pytest.mark.parametrize(("steps", "learnt"), [(3, 1), (4, 2), (9, 3)])
def test_the_last_layers_are_let_go_first(steps: int, learnt: int) -> None:
    """With a layer every 3 steps just the last ones moved; the others, their batch norm statistics and their average
    are what they were, bit by bit, in spite of weight decay and momentum."""
    before = net()
    by_depth = layers(before)
    recipe = replace(RECIPE, steps=steps, tuning=Tuning(every=3))
    after = train(deepcopy(before), EXAMPLES, PSEUDO, recipe, NOISE, 0)
    old, new = before.state_dict(), after.state_dict()
    frozen = {name for names in by_depth[: len(by_depth) - learnt] for name in names}
    for name, module in before.named_modules():
        own = [f"{name}.{p}" for p, _ in module.named_parameters(recurse=False)]
        if own and set(own) <= frozen:
            for key in module.state_dict():
                assert torch.equal(old[f"{name}.{key}"], new[f"{name}.{key}"]), f"{name}.{key}"
        elif own:
            assert not all(torch.equal(old[key], new[key]) for key in own), name


def test_thawing_goes_on_where_it_was() -> None:
    """From any step's state the same bits, whatever was frozen then."""
    recipe, states = replace(RECIPE, tuning=Tuning(0.5, 0.9, 2)), list[State]()
    whole = train(net(), EXAMPLES, PSEUDO, recipe, NOISE, 0, save=states.append, save_every=1)
    for state in states[::3]:
        resumed = train(net(), EXAMPLES, PSEUDO, recipe, NOISE, 0, state=state)
        for name, value in whole.state_dict().items():
            assert torch.equal(resumed.state_dict()[name], value), name


@pytest.mark.parametrize("name", ["lenet5", "wrn10", "alexnet_small"])
def test_an_images_features_depend_on_nothing_else(name: str) -> None:
    """Alone, among others, at another place: the same bits; and the last layer makes the logits of them."""
    ours = net(name, noise=0.0).eval()
    image_NCHW = torch.cat([EXAMPLES.image_NCHW, PSEUDO.image_NCHW])
    together = features(ours, image_NCHW, 8)
    for row in range(len(image_NCHW)):
        assert torch.equal(features(ours, image_NCHW[row : row + 1], 8)[0], together[row])
    assert torch.equal(features(ours, image_NCHW.flip(0), 8).flip(0), together)
    with torch.no_grad():
        torch.testing.assert_close(last_layer(ours)(together.flatten(1)), ours(image_NCHW))


def test_a_net_that_goes_on_after_its_last_linear_layer_is_refused() -> None:
    """Features of such a net would not be what its head decides by."""
    with pytest.raises(ValueError, match="does not pass through one last linear layer"):
        features(nn.Sequential(net(), nn.Softmax(dim=1)).eval(), EXAMPLES.image_NCHW, 8)
