"""FGSM and PGD: the closed form, the box that no attack may leave, and that stronger is worse."""

import pytest
import torch
from torch import Tensor, nn

from tasks.core.attacks import fgsm, pgd
from tasks.nets.catalog import build


class Linear(nn.Module):
    """Logits w x + b of pixels 0..255."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3 * 6 * 6, 4)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """(N, 4)."""
        out: Tensor = self.head(image_NCHW.flatten(1) / 255)
        return out


@pytest.fixture
def linear() -> tuple[nn.Module, Tensor, Tensor]:
    net = Linear().eval()
    gen = torch.Generator().manual_seed(1)
    image_NCHW = torch.randint(20, 236, (64, 3, 6, 6), generator=gen, dtype=torch.uint8)
    return net, image_NCHW, net(image_NCHW.float()).argmax(dim=1)


def test_fgsm_of_a_linear_net_is_its_closed_form(linear: tuple[Linear, Tensor, Tensor]) -> None:
    """The gradient of the loss by x is W'(softmax - one-hot): eps times its sign is added."""
    net, image_NCHW, label_N = linear
    prob_NC = net(image_NCHW.float()).softmax(dim=1)
    gradient = (prob_NC - nn.functional.one_hot(label_N, 4)) @ net.head.weight
    expected = image_NCHW.float() + 4 * gradient.sign().reshape(image_NCHW.shape)
    torch.testing.assert_close(fgsm(net, image_NCHW, label_N, 4), expected)


@pytest.mark.parametrize("eps", [0.5, 3.0, 40.0])
def test_no_attack_leaves_its_box(linear: tuple[nn.Module, Tensor, Tensor], eps: float) -> None:
    """At most eps from the image and never outside 0..255; PGD moves every image."""
    net, image_NCHW, label_N = linear
    image_NCHW[0], image_NCHW[1] = 0, 255
    start = torch.rand(image_NCHW.shape, generator=torch.Generator().manual_seed(2)) * 2 - 1
    for attacked in (fgsm(net, image_NCHW, label_N, eps), pgd(net, image_NCHW, label_N, eps, 5, start)):
        assert (attacked - image_NCHW.float()).abs().max() <= eps + 1e-4
        assert attacked.min() >= 0
        assert attacked.max() <= 255


def test_stronger_is_worse_and_pgd_is_worse_than_fgsm() -> None:
    """A net that is right everywhere loses accuracy as eps rises, and no less to ten steps than to one."""
    torch.manual_seed(0)
    net = build("wrn10mp", channels=3, classes=4, width=1, dropout=0.0, stochastic_depth=0.0).eval()
    image_NCHW = torch.randint(256, (96, 3, 8, 8), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    with torch.no_grad():
        label_N = net(image_NCHW).argmax(dim=1)
    start = torch.rand(image_NCHW.shape, generator=torch.Generator().manual_seed(4)) * 2 - 1

    def right(attacked: Tensor) -> float:
        with torch.no_grad():
            return float((net(attacked).argmax(dim=1) == label_N).float().mean())

    one = [right(fgsm(net, image_NCHW, label_N, eps)) for eps in (0, 2, 8)]
    ten = [right(pgd(net, image_NCHW, label_N, eps, 10, start)) for eps in (0, 2, 8)]
    assert one[0] == ten[0] == 1
    assert one[0] > one[1] > one[2]
    assert ten[0] > ten[1] > ten[2]
    assert all(t <= o for t, o in zip(ten, one, strict=True))


def test_the_net_is_left_as_it_was(linear: tuple[nn.Module, Tensor, Tensor]) -> None:
    """No gradient stays behind, no weight asks for one less, and a net in training mode is refused."""
    net, image_NCHW, label_N = linear
    fgsm(net, image_NCHW, label_N, 2)
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    with pytest.raises(AssertionError, match="eval mode"):
        fgsm(net.train(), image_NCHW, label_N, 2)
