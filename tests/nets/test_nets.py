"""Every net of the catalog: forms, noise switches, and weights that follow from the seed."""

import pytest
import torch
from torch import Tensor, nn

from tasks.nets.catalog import NETS, build
from tasks.nets.wrn import Block, WideResNet


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize(("channels", "height", "width"), [(1, 8, 8), (3, 32, 32), (3, 45, 70)])
def test_images_in_logits_out(name: str, channels: int, height: int, width: int) -> None:
    """uint8 images of many sizes become finite logits; the gradient reaches every weight."""
    net = _build(name, channels=channels)
    logit_BC = net(_images(2, channels, height, width))
    assert logit_BC.shape == (2, 5)
    logit_BC.logsumexp(dim=1).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("name", sorted(NETS))
def test_wider_is_larger_and_the_seed_decides(name: str) -> None:
    """`width` grows the net; equal seeds give equal weights, others give others."""
    sizes = [sum(p.numel() for p in _build(name, width=w).parameters()) for w in (1, 2, 3)]
    assert sizes == sorted(set(sizes))
    same, again, other = (nn.utils.parameters_to_vector(_build(name, seed=s).parameters()) for s in (1, 1, 2))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize("noise", ["dropout", "stochastic_depth"])
def test_noise_is_on_in_training_only(name: str, noise: str) -> None:
    """Dropout and stochastic depth each change a training pass and never a pass in eval mode."""
    net, image_BCHW = _build(name, **{noise: 0.5}), _images(16, 1, 8, 8)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    assert not torch.equal(net(image_BCHW), net(image_BCHW))
    net.eval()
    assert torch.equal(net(image_BCHW), net(image_BCHW))


def test_survival_falls_linearly_to_the_last_block() -> None:
    """The paper's rule: block i of n is skipped with chance rate * i / n, the last one with the full rate."""
    net = build("wrn16", channels=1, classes=5, width=1, dropout=0.0, stochastic_depth=0.6)
    assert isinstance(net, WideResNet)
    skips = [block.skip for block in net.blocks if isinstance(block, Block)]
    assert skips == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_a_skipped_block_is_its_shortcut_and_the_mean_stays() -> None:
    """Each image skips on its own; over many draws the branch has the mean that it has in eval mode."""
    torch.manual_seed(0)
    block = Block(4, 4, 1, skip=0.3).train()
    block.norm1.eval(), block.norm2.eval()
    x = torch.randn(1, 4, 3, 3).expand(4000, -1, -1, -1)
    branch = block(x) - x
    skipped_B = (branch == 0).flatten(1).all(dim=1)
    assert skipped_B.float().mean() == pytest.approx(0.3, abs=0.03)
    torch.testing.assert_close(branch.mean(dim=0), (block.eval()(x[:1]) - x[:1])[0], atol=0.03, rtol=0.05)


def test_an_unknown_net_names_the_known_ones() -> None:
    """A typo is answered with the list."""
    with pytest.raises(ValueError, match=r"unknown net 'wrn99'; known: .*wrn10"):
        build("wrn99", channels=1, classes=2, width=1, dropout=0.0, stochastic_depth=0.0)


def _build(
    name: str,
    *,
    channels: int = 1,
    width: int = 1,
    seed: int = 0,
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(
            name, channels=channels, classes=5, width=width, dropout=dropout, stochastic_depth=stochastic_depth
        )


def _images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
