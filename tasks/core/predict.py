"""What a net believes about clean images. Letters: N images, C classes, H height, W width."""

import torch
from torch import Tensor, nn


@torch.inference_mode()
def predict(net: nn.Module, image_NCHW: Tensor, batch: int) -> Tensor:
    """Class probabilities, float32 (N, C) on the CPU, of uint8 images without any noise (the paper's clean teacher)."""
    assert not net.training, "predict wants a net in eval mode: a noisy teacher makes worse labels"
    device = next(net.parameters()).device
    parts = [net(part.to(device)).float().softmax(dim=1).cpu() for part in torch.split(image_NCHW, batch)]
    return torch.cat(parts)
