"""Knowledge distillation (Hinton, Vinyals & Dean, arXiv:1503.02531): a small net learns what a large one believes.

Letters: N images, B batch, C classes.
"""

from torch import Tensor


def soften(prob_NC: Tensor, temperature: float) -> Tensor:
    """The probabilities (N, C) that the same net would give if its logits were divided by `temperature`.

    The softmax of logits over T is proportional to the T-th root of the probabilities, so the logits themselves are not
    needed: [0.0067, 0.9933] at T = 100 becomes [0.4875, 0.5125].
    """
    return (prob_NC.clamp_min(1e-12).log() / temperature).softmax(dim=1)


def divergence(logit_BC: Tensor, soft_BC: Tensor, temperature: float) -> Tensor:
    """T^2 times the mean over B of KL(soft || softmax(logit / T)), as a scalar.

    `soft_BC` is the teacher at the same temperature (`soften`). Gradients of the divergence shrink with 1 / T^2; the
    factor keeps the share of a loss at T = 1 beside it as it is, whatever T (section 2 of the paper).
    """
    log_BC = (logit_BC / temperature).log_softmax(dim=1)
    each_BC = soft_BC * (soft_BC.clamp_min(1e-12).log() - log_BC)
    return temperature**2 * each_BC.sum(dim=1).mean()
