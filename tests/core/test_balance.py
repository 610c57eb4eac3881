"""Class-balanced sampling and logit adjustment: invariants, equations, and that the rare class gains."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy as torchs
from torch.nn.functional import one_hot

from tasks.core.balance import class_balanced, class_shares, logit_adjusted
from tasks.core.loss import cross_entropy
from tasks.core.predict import predict
from tasks.core.train import Examples, train
from tests.core.small_training import NOISE, RECIPE, examples, net

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, seed=st.integers(0, 99))
def test_every_class_stands_in_an_epoch_alike(rows: list[tuple[int, int]], seed: int) -> None:
    """Each class that occurs ends with the count of the most frequent one; images of 0 copies keep 0, others lose none,
    and two images of a class with as many copies differ by one at most for each."""
    label_N, copies_N = torch.tensor(rows).unbind(dim=1)
    before = Examples(torch.zeros(len(rows), 1, 1, 1, dtype=torch.uint8), one_hot(label_N, 4).float(), copies_N)
    after_N = class_balanced(before, seed).copies_N
    counts = torch.bincount(label_N, weights=copies_N.float(), minlength=4)
    assert torch.bincount(label_N, weights=after_N.float(), minlength=4).tolist() == [
        counts.max() if count else 0 for count in counts
    ]
    assert ((after_N == 0) == (copies_N == 0)).all()
    assert (after_N >= copies_N).all()
    for c in range(4):
        each_K = after_N[(label_N == c) & (copies_N == 1)]
        assert not len(each_K) or each_K.max() - each_K.min() <= 1


def test_shares_count_copies_and_soft_targets() -> None:
    """By hand; a class that does not occur counts as half an image."""
    target_NC = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    some = Examples(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), target_NC, torch.tensor([2, 3]))
    torch.testing.assert_close(class_shares(some), torch.tensor([3.5, 1.5, 0.5]) / 5.5)


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_logit_adjustment_is_equation_10(tau: float) -> None:
    """log(1 + sum_{y' != y} (pi_y' / pi_y)^tau exp(f_y' - f_y)), in a plain loop; even shares change nothing."""
    gen = torch.Generator().manual_seed(0)
    logit_BC, label_B = torch.randn(6, 4, generator=gen), torch.tensor([0, 1, 2, 3, 0, 2])
    share_C = torch.tensor([0.5, 0.3, 0.15, 0.05])
    target_BC = one_hot(label_B, 4).float()
    ours = logit_adjusted(logit_BC, target_BC, of=cross_entropy, share_C=share_C, tau=tau)
    plain = 0.0
    for f, y in zip(logit_BC, label_B.tolist(), strict=True):
        others = [(share_C[k] / share_C[y]) ** tau * (f[k] - f[y]).exp() for k in range(4) if k != y]
        plain += float(torch.log1p(torch.stack(others).sum())) / 6
    assert ours.item() == pytest.approx(plain, rel=1e-5)
    even = logit_adjusted(logit_BC, target_BC, of=cross_entropy, share_C=torch.full((4,), 0.25), tau=tau)
    torch.testing.assert_close(even, torchs(logit_BC, label_B))


def test_the_rare_class_gains() -> None:
    """3 images of one class beside 27 of the other, hardly any signal: both ways find more of the rare class."""
    hard = _hard(60, seed=1)
    rare = hard.target_NC[:, 1] == 1
    keep = torch.cat([(~rare).nonzero().flatten()[:27], rare.nonzero().flatten()[:3]])
    skewed, unseen = hard.rows(keep), _hard(200, seed=2)
    recipe = replace(RECIPE, steps=40, batch=16, warmup=4, label_smoothing=0.0)
    adjusted = partial(logit_adjusted, of=cross_entropy, share_C=class_shares(skewed), tau=1.0)

    def recall(data: Examples, **how: object) -> float:
        trained = train(net(noise=0.0), data, None, recipe, NOISE, 0, **how)  # type: ignore[arg-type]
        prob_NC = predict(trained, unseen.image_NCHW, 200)
        return float((prob_NC.argmax(dim=1) == 1)[unseen.target_NC[:, 1] == 1].float().mean())

    plain = recall(skewed)
    assert recall(class_balanced(skewed, 0)) > plain + 0.05
    assert recall(skewed, of_labeled=adjusted) > plain + 0.05


def _hard(n: int, seed: int) -> Examples:
    """The small images with so much noise that the classes overlap."""
    clear = examples(n)
    gen = torch.Generator().manual_seed(seed)
    noise_NCHW = 70 * torch.randn(clear.image_NCHW.shape, generator=gen)
    faint = 0.25 * clear.image_NCHW + 80 + noise_NCHW
    return Examples(faint.clamp(0, 255).to(torch.uint8), clear.target_NC, clear.copies_N)
