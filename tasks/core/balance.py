"""Skewed classes, and two ways to learn as if they were even. Letters: N images, B batch, C classes."""

from collections.abc import Callable

import torch
from torch import Tensor

from tasks.core.batches import Examples


def class_shares(examples: Examples) -> Tensor:
    """float32 (C,): how much of an epoch is of each class, soft targets by their probabilities. A class that does not
    occur counts as half an image, so that every share has a logarithm."""
    copies_N1 = examples.copies_N[:, None]
    count_C = (examples.target_NC * copies_N1).sum(dim=0).clamp_min(0.5)
    return count_C / count_C.sum()


def class_balanced(examples: Examples, seed: int) -> Examples:
    """The same images with more copies: each class stands in an epoch as often as the most frequent one does.

    What every image of a class gets alike is not enough for an even number; the rest goes to images that `seed` draws.
    A class is that of the largest probability; images of 0 copies keep 0.
    """
    label_N, gen = examples.target_NC.argmax(dim=1), torch.Generator().manual_seed(seed)
    counts = [int(examples.copies_N[label_N == c].sum()) for c in range(examples.target_NC.shape[1])]
    copies_N = examples.copies_N.clone()
    for c, count in enumerate(counts):
        if not count:
            continue
        entry_M = torch.repeat_interleave(torch.where(label_N == c, examples.copies_N, 0))
        times, rest = divmod(max(counts), count)
        drawn = entry_M[torch.randperm(count, generator=gen)[:rest]]
        copies_N[label_N == c] *= times
        copies_N += torch.bincount(drawn, minlength=len(copies_N))
    return Examples(examples.image_NCHW, examples.target_NC, copies_N)


def logit_adjusted(
    logit_BC: Tensor, target_BC: Tensor, *, of: Callable[[Tensor, Tensor], Tensor], share_C: Tensor, tau: float
) -> Tensor:
    """Logit adjustment (Menon et al., arXiv:2007.07314), equation 10: the loss `of` logits to which tau * log(share of
    the class) was added. What is learnt is then free of the shares, and for tau = 1 right for even ones."""
    return of(logit_BC + tau * share_C.log().to(logit_BC.device), target_BC)
