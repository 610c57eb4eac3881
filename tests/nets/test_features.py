"""The features of every net: what its last layer turns into logits."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.nets.catalog import NETS, build
from tasks.nets.features import seen_by

LARGE = {"vgg11", "vgg16"}  # seconds to fill with weights; their small forms end in the same layers
TORCHVISION = ["resnet18", "mobilenet_v3_small", "densenet121", "shufflenet_v2_x0_5", "mnasnet0_5", "efficientnet_b0"]


def _net(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build(name, channels=3, classes=5, width=1, dropout=0.0, stochastic_depth=0.0).eval()


def _images() -> Tensor:
    return torch.randint(256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@torch.no_grad()
@pytest.mark.parametrize("name", [*sorted(NETS.keys() - LARGE), *(f"torchvision/{n}" for n in TORCHVISION)])
def test_the_last_layer_makes_the_logits_of_them(name: str) -> None:
    """Features times the head's weights plus its bias are the logits, in every net that ends in a linear layer."""
    net = _net(name)
    with seen_by(net) as seen:
        logit_BC = net(_images())
        features_BD = seen.features_BD
    head = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    assert features_BD.shape == (2, head.in_features)
    torch.testing.assert_close(F.linear(features_BD, head.weight, head.bias), logit_BC)


@torch.no_grad()
def test_a_head_that_is_a_convolution_gives_the_mean_over_pixels() -> None:
    """SqueezeNet ends in a 1 x 1 convolution over 512 channels."""
    net = _net("torchvision/squeezenet1_1")
    with seen_by(net) as seen:
        net(_images())
    assert seen.features_BD.shape == (2, 512)


@torch.no_grad()
def test_watching_changes_nothing_and_ends() -> None:
    """The logits are the same with and without; afterwards no hook is left, also when something fails meanwhile."""
    net = _net("wrn10")
    before = net(_images())
    with seen_by(net) as seen:
        assert torch.equal(net(_images()), before)
        first = seen.features_BD.clone()
        net(255 - _images())
        assert not torch.equal(seen.features_BD, first)
    with pytest.raises(RuntimeError), seen_by(net):
        net(_images()[:, :1])
    assert not any(m._forward_pre_hooks for m in net.modules())
