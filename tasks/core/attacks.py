"""Attacks that see the net: the smallest change of the pixels that takes it in. N images, C channels, H x W pixels.

Images are float 0..255, the scale in which the papers give eps; scaling to what the net wants is the net's own first
layer (tasks/nets/pixels.py), so an eps here is an eps in pixels whatever the net. Attacked images are not rounded.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fgsm(net: nn.Module, image_NCHW: Tensor, label_N: Tensor, eps: float) -> Tensor:
    """One step of `eps` up the loss, pixel by pixel (Goodfellow, Shlens & Szegedy, arXiv:1412.6572)."""
    image_NCHW = image_NCHW.float()
    return (image_NCHW + eps * _uphill(net, image_NCHW, label_N)).clamp(0, 255)


def pgd(net: nn.Module, image_NCHW: Tensor, label_N: Tensor, eps: float, steps: int, start_NCHW: Tensor) -> Tensor:
    """`steps` steps of 2.5 eps / steps, each cut back to at most `eps` from the image (Madry et al., arXiv:1706.06083).

    `start_NCHW`: from -1 to 1, where in the box to begin.
    """
    image_NCHW = image_NCHW.float()
    low, high = (image_NCHW - eps).clamp(min=0), (image_NCHW + eps).clamp(max=255)
    attacked = (image_NCHW + eps * start_NCHW).clamp(low, high)
    for _ in range(steps):
        attacked = (attacked + 2.5 * eps / steps * _uphill(net, attacked, label_N)).clamp(low, high)
    return attacked


def _uphill(net: nn.Module, image_NCHW: Tensor, label_N: Tensor) -> Tensor:
    """The sign of the loss's gradient by each pixel. The net is in eval mode and keeps no gradient of its own."""
    assert not net.training, "an attack wants the net as it is used, in eval mode"
    image_NCHW = image_NCHW.detach().requires_grad_()
    with torch.enable_grad():
        loss = F.cross_entropy(net(image_NCHW).float(), label_N, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, image_NCHW)
    return gradient.sign()
