"""Every net by name. A new one is a line here, its name in tasks/nets/names.py and a builder with these arguments."""

from functools import partial
from typing import Any, Protocol

from torch import nn

from tasks.nets.alexnet import AlexNet, SmallAlexNet
from tasks.nets.lenet import LeNet5
from tasks.nets.names import TIMM, TORCHVISION, mistake
from tasks.nets.resnet9 import ResNet9
from tasks.nets.vgg import VGG, SmallVGG
from tasks.nets.wrn import WideResNet


class Builder(Protocol):
    """What makes a net that takes uint8 images (B, channels, H, W) and returns logits (B, classes)."""

    def __call__(
        self, *, channels: int, classes: int, width: int, dropout: float, stochastic_depth: float
    ) -> nn.Module: ...


NETS: dict[str, Builder] = {
    "alexnet": AlexNet,
    "alexnet_small": SmallAlexNet,
    "lenet5": LeNet5,
    "resnet9": ResNet9,
    "vgg11": partial(VGG, 11),
    "vgg11_small": partial(SmallVGG, 11),
    "vgg16": partial(VGG, 16),
    "vgg16_small": partial(SmallVGG, 16),
    "wrn10": partial(WideResNet, 10),
    "wrn10mp": partial(WideResNet, 10, pooled_stem=True),
    "wrn16": partial(WideResNet, 16),
    "wrn28": partial(WideResNet, 28),
}


def build(name: str, *, channels: int, classes: int, width: int, dropout: float, stochastic_depth: float) -> nn.Module:
    """A fresh net, its weights drawn from torch's generator, which the caller seeds.

    `torchvision/NAME` is any classification net of torchvision, `timm/NAME` one of timm. ValueError for an unknown
    name or noise it cannot have.
    """
    if problem := mistake(name, width, stochastic_depth):
        raise ValueError(problem)
    form: dict[str, Any] = {"channels": channels, "classes": classes, "dropout": dropout}
    form["stochastic_depth"] = stochastic_depth
    if name.startswith(TORCHVISION):
        from tasks.nets.from_torchvision import FromTorchvision  # seconds to import

        return FromTorchvision(name.removeprefix(TORCHVISION), **form)
    if name.startswith(TIMM):
        from tasks.nets.from_timm import FromTimm

        return FromTimm(name.removeprefix(TIMM), **form)
    return NETS[name](width=width, **form)
