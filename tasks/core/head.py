"""A net cut in two: what it sees in an image, and the head that decides. Where all below the head is frozen, that part
answers the same every time, so each image goes through it once and the head alone learns (a "linear probe": Kornblith,
Shlens & Le, arXiv:1805.08974, section 4). Letters: N images, B batch, C classes, D features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Head(nn.Module):
    """The last layer of a net with dropout before it, for features (B, D, 1, 1) in the place of images."""

    def __init__(self, layer: nn.Linear, dropout: float) -> None:
        super().__init__()
        self.dropout, self.layer = nn.Dropout(dropout), layer

    def forward(self, feature_BD11: Tensor) -> Tensor:
        """Logits (B, C)."""
        logit_BC: Tensor = self.layer(self.dropout(feature_BD11.flatten(1)))
        return logit_BC


def last_layer(net: nn.Module) -> nn.Linear | nn.Conv2d:
    """The layer that makes the logits: the last linear one, in nets without any the last convolution."""
    linears = [module for module in net.modules() if isinstance(module, nn.Linear)]
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    return linears[-1] if linears else convolutions[-1]


@torch.no_grad()
def features(net: nn.Module, image_NCHW: Tensor, batch: int) -> Tensor:
    """float32 (N, D, 1, 1) on the CPU: what goes into the last layer of a net in eval mode, for clean uint8 images.

    Every pass takes `batch` images, the last one filled up with black ones: so an image's features do not depend on how
    many others were asked about. ValueError where the net does more with them than a last linear layer does.
    """
    assert not net.training, "features wants a net in eval mode"
    layer, device, seen = last_layer(net), next(net.parameters()).device, list[Tensor]()
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    parts = []
    try:
        for part in torch.split(image_NCHW, batch):
            filled = torch.cat([part, part.new_zeros(batch - len(part), *part.shape[1:])])
            logit_BC = net(filled.to(device))
            feature_BD = seen.pop()
            if feature_BD.ndim != 2 or not torch.equal(F.linear(feature_BD, layer.weight, layer.bias), logit_BC):
                raise ValueError("what it sees does not pass through one last linear layer alone")
            parts.append(feature_BD[: len(part)].float().cpu())
    finally:
        hook.remove()
    return torch.cat(parts)[:, :, None, None]
