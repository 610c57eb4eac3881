"""The loop: resume bit for bit, no randomness of its own, learns, and refuses nonsense."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor, nn

from tasks.core.augment import Noise
from tasks.core.predict import predict
from tasks.core.train import Examples, Recipe, Validation, train
from tests.core.small_training import NOISE, PARTS, RECIPE, VALIDATION
from tests.core.small_training import examples as _examples
from tests.core.small_training import net as _net


class Interrupted(Exception):
    """Stands for a process that dies."""


@pytest.mark.parametrize(("recipe", "validation"), [(RECIPE, None), (PARTS, VALIDATION)])
@settings(max_examples=3, deadline=None)
@given(deaths=st.lists(st.integers(1, 8), min_size=1, max_size=2))
def test_an_interrupted_run_ends_with_the_same_bits(
    recipe: Recipe, validation: Validation | None, deaths: list[int]
) -> None:
    """Killed after any steps and continued from the saved bytes: weights and statistics equal to the last bit, also
    where a step is taken in parts and images kept aside choose among the steps."""
    data = _net, _examples(5), _examples(9)
    expected = _train(data, recipe, validation).state_dict()
    state: dict[str, Tensor] | None = None
    for death in sorted(deaths):
        kept: list[bytes] = []

        def die(received: dict[str, Tensor], death: int = death, kept: list[bytes] = kept) -> None:
            kept.append(save(received))
            if received["step"] >= death:
                raise Interrupted

        with pytest.raises(Interrupted):
            _train(data, recipe, validation, state=state, save=die, save_every=1)
        state = load(kept[-1])
    resumed = _train(data, recipe, validation, state=state).state_dict()
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())


def _train(data: Any, recipe: Recipe, validation: Validation | None, **more: Any) -> nn.Module:
    make, labeled, pseudo = data
    return train(make(), labeled, pseudo, recipe, NOISE, 3, validation=validation, **more)


def test_global_randomness_neither_matters_nor_changes() -> None:
    """Another state of torch's generator gives the same net, and the run leaves that state as it was."""
    nets = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            net = _net()
            torch.manual_seed(seed)
            state = torch.get_rng_state()
            nets.append(train(net, _examples(5), _examples(9), RECIPE, NOISE, seed=3).state_dict())
            assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(nets[0][name], value) for name, value in nets[1].items())


def test_another_seed_gives_another_net() -> None:
    """The seed reaches the images, the noise, or both."""
    one, two = (train(_net(), _examples(5), None, RECIPE, NOISE, seed).state_dict() for seed in (1, 2))
    assert not torch.equal(one["head.weight"], two["head.weight"])


def test_learns_what_there_is_to_learn() -> None:
    """Bright halves of an image are told apart after 60 noisy steps, from 8 labels and 40 pseudo-labels."""
    labeled, pseudo, unseen = _examples(8), _examples(40), _examples(60)
    recipe = replace(RECIPE, steps=60, warmup=5)
    net = train(_net(), labeled, pseudo, recipe, Noise(1, 3.0, 0, False, 0), seed=0)
    prob_NC = predict(net, unseen.image_NCHW, 16)
    assert (prob_NC.argmax(dim=1) == unseen.target_NC.argmax(dim=1)).float().mean() > 0.95


def test_one_epoch_shows_each_image_as_often_as_its_copies() -> None:
    """Copies are counted within every epoch, whatever the batch size; 0 copies are never shown."""
    copies_N = torch.tensor([1, 0, 3, 2])
    shown: list[int] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1, 2))

        def forward(self, image_BCHW: Tensor) -> Tensor:
            shown.extend(image_BCHW[:, 0, 0, 0].tolist())
            return self.weight.expand(len(image_BCHW), 2)

    image_NCHW = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    examples = Examples(image_NCHW, torch.eye(2)[[0, 1, 0, 1]], copies_N)
    train(Spy(), examples, None, replace(RECIPE, steps=9, batch=4), Noise(0, 0.0, 0, False, 0), seed=0)
    for epoch in range(6):
        drawn = torch.tensor(shown[6 * epoch : 6 * epoch + 6])
        assert torch.equal(torch.bincount(drawn, minlength=4), copies_N)


def test_the_loss_counts_every_image_alike() -> None:
    """Logged loss = (labeled + ratio * pseudo) / (1 + ratio), the labeled part with smoothing; rows as documented."""
    rows: list[dict[str, float]] = []
    train(_net(), _examples(5), _examples(9), RECIPE, NOISE, 0, log=rows.append, log_every=4)
    assert [row["step"] for row in rows] == [4, 8, 9]
    for row in rows:
        assert row["loss"] == pytest.approx((row["loss_labeled"] + 2 * row["loss_pseudo"]) / 3)
        assert row.keys() == {"step", "loss", "loss_labeled", "loss_pseudo", "lr", "images_per_s"}


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    """The error names the step and the setting to change, before the weights are spoilt."""
    net = _net()
    with torch.no_grad():
        net.get_parameter("head.weight").fill_(math.inf)
    with pytest.raises(FloatingPointError, match=r"step 0 of 9; lower train.lr"):
        train(net, _examples(5), None, RECIPE, NOISE, 0)


def test_nothing_to_learn_from_is_an_error() -> None:
    """A table in which every image has 0 copies names itself."""
    empty = _examples(4)
    with pytest.raises(ValueError, match="no pseudo image to learn from: all 4 have 0 copies"):
        train(_net(), _examples(4), replace(empty, copies_N=torch.zeros(4, dtype=torch.int64)), RECIPE, NOISE, 0)


def test_only_a_clean_net_predicts() -> None:
    """A net left in training mode is refused; batches do not change what a net believes beyond rounding."""
    net, image_NCHW = _net(), _examples(7).image_NCHW
    with pytest.raises(AssertionError, match="eval mode"):
        predict(net, image_NCHW, 4)
    whole, parts = predict(net.eval(), image_NCHW, 7), predict(net, image_NCHW, 2)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(whole, parts)
    torch.testing.assert_close(whole.sum(dim=1), torch.ones(7))
