"""Stochastic depth (Huang et al., arXiv:1603.09382): residual branches skipped image by image. B batch."""

import torch
from torch import Tensor


def skip_some(branch: Tensor, chance: float, training: bool) -> Tensor:
    """A residual branch (B, ...), in training zero for each image with `chance`; scaled so that its mean stays."""
    if not training or not chance:
        return branch
    kept_B111 = torch.rand(len(branch), 1, 1, 1, device=branch.device) >= chance
    return branch * kept_B111 / (1 - chance)
