"""The small pure parts, each against torch or a plain loop."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tasks.core import ema
from tasks.core.loss import cross_entropy
from tasks.core.optimizer import descend, sgd
from tasks.core.schedule import learning_rate
from tasks.core.tuning import ALIKE


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_hard_targets_give_torchs_cross_entropy(smoothing: float) -> None:
    """With one-hot targets we must equal torch's own cross entropy, smoothing included."""
    logit_BC, label_B = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)), torch.arange(7) % 5
    ours = cross_entropy(logit_BC, F.one_hot(label_B, 5).float(), smoothing)
    torch.testing.assert_close(ours, F.cross_entropy(logit_BC, label_B, label_smoothing=smoothing))


def test_soft_targets_give_torchs_cross_entropy() -> None:
    """Distributions as targets too."""
    gen = torch.Generator().manual_seed(0)
    logit_BC, target_BC = torch.randn(6, 4, generator=gen), torch.rand(6, 4, generator=gen).softmax(dim=1)
    torch.testing.assert_close(cross_entropy(logit_BC, target_BC), F.cross_entropy(logit_BC, target_BC))


@given(steps=st.integers(1, 60), warmup=st.integers(0, 70), peak=st.floats(1e-4, 10))
def test_rate_rises_to_its_peak_then_falls(steps: int, warmup: int, peak: float) -> None:
    """Up in a line, down in a cosine, never above the peak, never 0; a warm-up longer than the run is allowed."""
    rates = [learning_rate(step, steps, warmup, peak) for step in range(steps)]
    assert all(0 < rate <= peak for rate in rates)
    assert rates[:warmup] == pytest.approx([peak * (i + 1) / warmup for i in range(min(warmup, steps))])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    if steps > warmup:
        assert rates[warmup] == peak


def test_rate_is_torchs_cosine() -> None:
    """Without warm-up it is torch's own CosineAnnealingLR."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        assert learning_rate(step, 20, 0, 0.3) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


@pytest.mark.parametrize(("momentum", "frozen"), [(0.9, 0), (0.0, 0), (0.9, 3)])
def test_steps_are_those_of_torchs_sgd(momentum: float, frozen: int) -> None:
    """The same bits as torch.optim.SGD after five steps: with and without momentum, decay in one group alone, a weight
    that has no gradient in the first steps."""
    ours, theirs = _net(3), _net(3)
    optimizer = sgd(ours, 0.1, momentum, 5e-4, ALIKE)
    groups = [
        {"params": [p for p in theirs.parameters() if (p.ndim > 1) == matrix], "weight_decay": decay}
        for matrix, decay in ((True, 5e-4), (False, 0.0))
    ]
    reference = torch.optim.SGD(groups, lr=0.1, momentum=momentum, nesterov=momentum > 0)
    for step in range(5):
        for net in (ours, theirs):
            net.zero_grad()
            net(torch.randn(4, 3, generator=torch.Generator().manual_seed(step))).square().sum().backward()
            if step < frozen:
                next(net.parameters()).grad = None
        descend(ours, optimizer, 0.1, 0.0)
        reference.step()
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_decay_0_copies_the_net_with_its_buffers() -> None:
    """decay 0: the average is the net, batch norm statistics and counters included."""
    net, average = _net(1), _net(2)
    net(torch.randn(4, 3))
    ema.update(average, net, 0.0, step=5)
    for name, value in net.state_dict().items():
        assert torch.equal(average.state_dict()[name], value), name


def test_average_follows_the_plain_rule() -> None:
    """Weights and running statistics against a loop in Python; the decay is small at first."""
    net, average = _net(1), _net(2)
    plain = {name: value.clone().double() for name, value in average.state_dict().items()}
    for step in range(30):
        net(torch.randn(4, 3, generator=torch.Generator().manual_seed(step)))
        decay = min(0.7, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            plain[name] = decay * plain[name] + (1 - decay) * value if value.is_floating_point() else value
        ema.update(average, net, 0.7, step)
    for name, value in average.state_dict().items():
        torch.testing.assert_close(value.double(), plain[name].double(), msg=name)
    assert math.isclose(int(average.state_dict()["1.num_batches_tracked"]), 30)


def _net(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
