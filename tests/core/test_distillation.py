"""Distillation against its definition and the paper's limits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tasks.core.distillation import divergence, soften
from tasks.core.loss import cross_entropy


def test_the_stated_example() -> None:
    """[0.0067, 0.9933] at T = 100 gives [0.4875, 0.5125]."""
    assert soften(torch.tensor([[0.0067, 0.9933]]), 100.0)[0].tolist() == pytest.approx([0.4875, 0.5125], abs=5e-5)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.floats(0.5, 50))
def test_softening_probabilities_is_dividing_logits(seed: int, temperature: float) -> None:
    """softmax(z / T) from softmax(z) alone; T = 1 changes nothing and the order of the classes stays."""
    logit_NC = 3 * torch.randn((5, 4), generator=torch.Generator().manual_seed(seed))
    prob_NC = logit_NC.softmax(dim=1)
    soft_NC = soften(prob_NC, temperature)
    torch.testing.assert_close(soft_NC, (logit_NC / temperature).softmax(dim=1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(soften(prob_NC, 1.0), prob_NC, atol=1e-6, rtol=1e-5)
    assert torch.equal(soft_NC.argmax(dim=1), prob_NC.argmax(dim=1))


@settings(deadline=None)
@given(st.integers(0, 2**31), st.floats(0.5, 20))
def test_divergence_is_torchs_and_0_only_where_both_agree(seed: int, temperature: float) -> None:
    """T^2 KL against torch's own; at T = 1 its gradient is that of the cross entropy."""
    gen = torch.Generator().manual_seed(seed)
    teacher_BC, student_BC = (2 * torch.randn((6, 3), generator=gen) for _ in range(2))
    soft_BC = (teacher_BC / temperature).softmax(dim=1)
    log_BC = (student_BC / temperature).log_softmax(dim=1)
    expected = temperature**2 * nn.functional.kl_div(log_BC, soft_BC, reduction="batchmean")
    torch.testing.assert_close(divergence(student_BC, soft_BC, temperature), expected, atol=1e-4, rtol=1e-4)
    assert divergence(teacher_BC, soft_BC, temperature).item() == pytest.approx(0, abs=1e-3)
    one_BC = teacher_BC.softmax(dim=1)
    gradients = []
    for loss in (divergence(student_BC.requires_grad_(), one_BC, 1.0), cross_entropy(student_BC, one_BC)):
        gradients += torch.autograd.grad(loss, student_BC)
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_a_high_temperature_matches_logits() -> None:
    """For T far above the logits the gradient tends to that of half the squared distance of centred logits over C
    (equation 4 of the paper)."""
    gen = torch.Generator().manual_seed(0)
    teacher_BC, student_BC = (torch.randn((4, 5), generator=gen, dtype=torch.float64) for _ in range(2))
    student_BC.requires_grad_()
    [gradient] = torch.autograd.grad(divergence(student_BC, (teacher_BC / 1e3).softmax(dim=1), 1e3), student_BC)
    centred = [logit - logit.mean(dim=1, keepdim=True) for logit in (student_BC, teacher_BC)]
    torch.testing.assert_close(gradient, (centred[0] - centred[1]) / (5 * 4), atol=2e-3, rtol=1e-2)
