"""The training loss: cross entropy against a distribution over classes. Letters: B batch, C classes."""

from torch import Tensor


def cross_entropy(logit_BC: Tensor, target_BC: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean over B of -sum_c target * log softmax(logit), as a scalar.

    `smoothing` mixes that share of the uniform distribution into the target (Szegedy et al., arXiv:1512.00567).
    """
    smooth_BC = target_BC * (1 - smoothing) + smoothing / target_BC.shape[1]
    return -(smooth_BC * logit_BC.log_softmax(dim=1)).sum(dim=1).mean()
