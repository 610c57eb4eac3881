"""FixMatch and mean teacher as targets: against their equations, and that each learns what no label says."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from tasks.core.augment import Noise
from tasks.core.fixres import CLEAN
from tasks.core.predict import predict
from tasks.core.targets import Learner, Told, fixmatch, mean_teacher, weighted
from tasks.core.train import Examples, train
from tests.core.small_training import RECIPE, examples, net

GEN = torch.Generator()
FLIP = replace(CLEAN, flip=True)


class Table(nn.Module):
    """Says of an image with first pixel i what row i of a table of logits says."""

    def __init__(self, logit_NC: Tensor) -> None:
        super().__init__()
        self.logit_NC = nn.Parameter(logit_NC)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.logit_NC[image_BCHW[:, 0, 0, 0].long()]


def test_fixmatch_is_equation_4() -> None:
    """1/B sum_b 1(max q_b >= threshold) H(argmax q_b, p_b): the cross entropy of our targets, in a plain loop."""
    gen = torch.Generator().manual_seed(0)
    weak_NC, strong_BC = 2 * torch.randn(8, 3, generator=gen), torch.randn(8, 3, generator=gen)
    image_BCHW = torch.arange(8, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    learner = Learner(Table(weak_NC), Table(weak_NC), 0.0)
    target_BC = fixmatch(image_BCHW, torch.zeros(8, 3), learner, GEN, threshold=0.7, weak=FLIP)
    ours = -(target_BC * strong_BC.log_softmax(dim=1)).sum(dim=1).mean()
    plain, sure = 0.0, 0
    for b in range(8):
        q = weak_NC[b].softmax(dim=0)
        if q.max() >= 0.7:
            plain += float(nn.functional.cross_entropy(strong_BC[b : b + 1], q.argmax()[None])) / 8
            sure += 1
    assert ours.item() == pytest.approx(plain)
    assert 0 < sure < 8


@pytest.mark.parametrize(("done", "ramp"), [(0.0, 0.3), (0.15, 0.3), (0.3, 0.3), (0.9, 0.3), (0.5, 0.0)])
def test_mean_teacher_is_the_averages_belief_with_a_rising_weight(done: float, ramp: float) -> None:
    """exp(-5 (1 - t)^2) in the ramp, 1 after it; what the net itself believes plays no part."""
    gen = torch.Generator().manual_seed(0)
    own_NC, average_NC = torch.randn(4, 3, generator=gen), torch.randn(4, 3, generator=gen)
    image_BCHW = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    learner = Learner(Table(own_NC), Table(average_NC), done)
    target_BC = mean_teacher(image_BCHW, torch.zeros(4, 3), learner, GEN, ramp=ramp, weak=CLEAN)
    weight = math.exp(-5 * (1 - done / ramp) ** 2) if done < ramp else 1.0
    torch.testing.assert_close(target_BC, weight * average_NC.softmax(dim=1))


def test_asking_changes_nothing() -> None:
    """Weights, batch norm statistics and the mode of every layer are what they were; no gradient flows."""
    one = net().train()
    one.get_submodule("norm").eval()
    before = {name: value.clone() for name, value in one.state_dict().items()}
    modes = [module.training for module in one.modules()]
    given = examples(6)
    for told in (partial(fixmatch, threshold=0.0, weak=FLIP), partial(mean_teacher, ramp=0.0, weak=FLIP)):
        said = told(given.image_NCHW, given.target_NC, Learner(one, one, 0.5), GEN)
        assert not said.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in one.state_dict().items())
    assert [module.training for module in one.modules()] == modes


@pytest.mark.parametrize(
    "told", [partial(fixmatch, threshold=0.6, weak=CLEAN), partial(mean_teacher, ramp=0.3, weak=CLEAN)]
)
def test_the_pool_is_learnt_without_any_stored_label(told: Told) -> None:
    """Stored pseudo-labels that are all wrong: the net follows its own beliefs instead, and is right."""
    labeled, pool, unseen = examples(8), examples(40), examples(60)
    wrong = Examples(pool.image_NCHW, pool.target_NC.flip(1), pool.copies_N)
    recipe = replace(RECIPE, steps=50, warmup=5)
    noise = Noise(1, 3.0, 0, False, 0)

    def right(told: Told | None) -> float:
        how = {"told": partial(weighted, told=told, weight=0.5)} if told else {}
        trained = train(net(noise=0.0), labeled, wrong, recipe, noise, 0, **how)
        said_N = predict(trained, unseen.image_NCHW, 60).argmax(dim=1)
        return float((said_N == unseen.target_NC.argmax(dim=1)).float().mean())

    assert right(told) > 0.95
    assert right(None) < 0.5
