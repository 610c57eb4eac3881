"""Any classification net of torchvision by name, `torchvision/resnet18`: for images, channels and classes as they come.

torchvision's import takes seconds; tasks/nets/catalog.py imports this module only for such a net.
"""

import torchvision
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from tasks.nets.pixels import Pixels

LEAST = {"inception_v3": 75, "alexnet": 63}  # pixels a net needs; the others work from 32 up
FIXED = {"vit_": 224}  # nets that take one size only
OLD = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


class FromTorchvision(nn.Module):
    """uint8 images (B, C, H, W) to logits (B, classes); images smaller than the net can take are enlarged."""

    def __init__(self, name: str, *, channels: int, classes: int, dropout: float, stochastic_depth: float) -> None:
        """ValueError for an unknown net, or for noise that this net has no place for."""
        super().__init__()
        known = torchvision.models.list_models(module=torchvision.models)
        if name not in known:
            raise ValueError(f"torchvision has no classification net {name!r}; known: {', '.join(known)}")
        self.least = LEAST.get(name, 32)
        self.fixed = next((size for prefix, size in FIXED.items() if name.startswith(prefix)), None)
        self.net = torchvision.models.get_model(name, weights=None, num_classes=classes, **OLD.get(name, {}))
        _set_channels(self.net, channels)
        _set_dropout(self.net, dropout)
        _set_depth(self.net, name, stochastic_depth)
        self.pixels, self.enlarged = Pixels(self.fixed), Pixels(self.fixed or self.least)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logits (B, classes)."""
        weight = next(self.net.parameters())
        pixels = self.enlarged if min(image_BCHW.shape[-2:]) < self.least else self.pixels
        logit_BC: Tensor = self.net(pixels(image_BCHW, weight))
        return logit_BC


def _set_channels(net: nn.Module, channels: int) -> None:
    """Give the first convolution another number of input channels."""
    for parent in net.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d):
                if child.in_channels != channels:
                    fresh = nn.Conv2d(
                        channels,
                        child.out_channels,
                        child.kernel_size,  # type: ignore[arg-type]  # the stubs call a pair a tuple of any length
                        child.stride,  # type: ignore[arg-type]
                        child.padding,  # type: ignore[arg-type]
                        bias=child.bias is not None,
                    )
                    setattr(parent, name, fresh)
                return
    raise ValueError("the net has no convolution to take other channels")


def _set_dropout(net: nn.Module, dropout: float) -> None:
    """Set every dropout of the net; where it has none, put one before its last linear layer."""
    found = [module for module in net.modules() if isinstance(module, nn.Dropout)]
    for module in found:
        module.p = dropout
    if not found and dropout:
        last = [
            (parent, name) for parent in net.modules() for name, c in parent.named_children() if type(c) is nn.Linear
        ]
        if not last:
            raise ValueError("the net has no linear layer to put dropout before: set dropout to 0")
        parent, name = last[-1]
        setattr(parent, name, nn.Sequential(nn.Dropout(dropout), getattr(parent, name)))


def _set_depth(net: nn.Module, name: str, stochastic_depth: float) -> None:
    """The chance to skip grows linearly to the last block, as everywhere here."""
    blocks = [module for module in net.modules() if isinstance(module, StochasticDepth)]
    for i, block in enumerate(blocks, start=1):
        block.p = stochastic_depth * i / len(blocks)
    if stochastic_depth and not blocks:
        raise ValueError(f"torchvision/{name} has no stochastic depth: set stochastic_depth to 0")
