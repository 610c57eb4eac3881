"""Every net of the catalog: forms, noise switches, and weights that follow from the seed."""

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from tasks.nets.catalog import NETS, build
from tasks.nets.ladder import FAMILIES, grown, rungs
from tasks.nets.names import PLAIN, RESIDUAL
from tasks.nets.wrn import Block, WideResNet

PUBLISHED = {"alexnet", "vgg11", "vgg16"}  # at native size: counted here, too large to run three times
SMALL = sorted(NETS.keys() - PUBLISHED)


def test_every_net_has_its_name() -> None:
    """Settings are checked against the names alone; they are those of the catalog."""
    assert sorted(RESIDUAL + PLAIN) == sorted(NETS)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("channels", "height", "width"), [(1, 8, 8), (3, 32, 32), (3, 45, 70)])
def test_images_in_logits_out(name: str, channels: int, height: int, width: int) -> None:
    """uint8 images of many sizes become finite logits; the gradient reaches every weight."""
    net = _build(name, channels=channels)
    logit_BC = net(_images(2, channels, height, width))
    assert logit_BC.shape == (2, 5)
    logit_BC.logsumexp(dim=1).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize(
    ("name", "classes", "channels", "width", "published"),
    [
        ("alexnet", 1000, 3, 1, 60_965_224),
        ("vgg11", 1000, 3, 1, 132_863_336),
        ("vgg16", 1000, 3, 1, 138_357_544),
        ("wrn28", 10, 3, 2, 1_467_610),  # TorchSSL's WRN-28-2
        ("wrn28", 10, 3, 10, 36_479_194),  # 36.5M in the paper
        ("resnet9", 10, 3, 4, 6_573_130),
        ("wrn16", 10, 3, 4, 2_748_890),  # 2.7M in the paper
        ("wrn16", 10, 3, 8, 10_961_370),  # 11.0M in the paper
        ("torchvision/resnet18", 1000, 3, 1, 11_689_512),
        ("torchvision/resnet34", 1000, 3, 1, 21_797_672),
        ("torchvision/resnet50", 1000, 3, 1, 25_557_032),
        ("torchvision/efficientnet_b0", 1000, 3, 1, 5_288_548),  # 5.3M in the paper, as its successors
        ("torchvision/efficientnet_b1", 1000, 3, 1, 7_794_184),  # 7.8M
        ("torchvision/efficientnet_b2", 1000, 3, 1, 9_109_994),  # 9.2M
        ("torchvision/efficientnet_b7", 1000, 3, 1, 66_347_960),  # 66M
    ],
)
def test_as_many_weights_as_published(name: str, classes: int, channels: int, width: int, published: int) -> None:
    """Not one weight more or less than the published net."""
    assert _count(name, width, channels, classes) == published


def test_lenet_has_the_papers_60000_weights() -> None:
    """LeCun et al. count 60,000 trainable parameters; the output layer was fixed there and is trained here."""
    net = _build("lenet5")
    head = sum(p.numel() for p in net.get_submodule("head").parameters())
    assert sum(p.numel() for p in net.parameters()) - head == 60_000


@pytest.mark.parametrize("name", ["alexnet", "vgg11"])
def test_published_nets_take_small_images(name: str) -> None:
    """Images of any size are scaled to the net's native one."""
    with torch.no_grad():
        assert _build(name)(_images(1, 1, 20, 30)).shape == (1, 5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "densenet121"])
@pytest.mark.parametrize("channels", [1, 3])
def test_torchvisions_nets_take_our_images(name: str, channels: int) -> None:
    """Any number of channels and classes, small images, dropout: of nets that differ in all of it."""
    net = _build(f"torchvision/{name}", channels=channels, dropout=0.5)
    net.train()
    logit_BC = net(_images(4, channels, 16, 16))
    assert logit_BC.shape == (4, 5)
    logit_BC.logsumexp(dim=1).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert any(isinstance(m, nn.Dropout) and m.p == 0.5 for m in net.modules())


def test_torchvisions_own_stochastic_depth_is_set() -> None:
    """The last block gets the full chance; a net without such blocks refuses the setting."""
    from torchvision.ops import StochasticDepth

    net = _build("torchvision/efficientnet_b0", stochastic_depth=0.4)
    chances = [m.p for m in net.modules() if isinstance(m, StochasticDepth)]
    assert chances == sorted(chances)
    assert chances[-1] == pytest.approx(0.4)
    with pytest.raises(ValueError, match="set stochastic_depth to 0"):
        _build("torchvision/resnet18", stochastic_depth=0.4)
    with pytest.raises(ValueError, match=r"no classification net 'resnet99'; known: .*resnet18"):
        _build("torchvision/resnet99")


@pytest.mark.parametrize("name", SMALL)
def test_wider_is_larger_and_the_seed_decides(name: str) -> None:
    """`width` grows the net; equal seeds give equal weights, others give others."""
    sizes = [sum(p.numel() for p in _build(name, width=w).parameters()) for w in (1, 2, 3)]
    assert sizes == sorted(set(sizes))
    same, again, other = (nn.utils.parameters_to_vector(_build(name, seed=s).parameters()) for s in (1, 1, 2))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)


@pytest.mark.parametrize(
    ("name", "noise"), [(n, "dropout") for n in SMALL] + [(n, "stochastic_depth") for n in RESIDUAL]
)
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


@pytest.mark.parametrize(
    ("net", "width", "factor", "larger"),
    [
        ("wrn28", 2, 2.0, ("wrn28", 3)),  # 1.47M, 3.3M
        ("wrn28", 2, 20.0, ("wrn28", 10)),
        ("wrn10mp", 1, 1.01, ("wrn10mp", 2)),
        ("lenet5", 1, 2.0, ("lenet5", 2)),
        ("torchvision/efficientnet_b0", 1, 1.4, ("torchvision/efficientnet_b1", 1)),
        ("torchvision/efficientnet_b0", 1, 1.5, ("torchvision/efficientnet_b2", 1)),
        ("torchvision/resnet18", 1, 2.0, ("torchvision/resnet50", 1)),
    ],
)
def test_the_ladder_grows_by_the_stated_factor(net: str, width: int, factor: float, larger: tuple[str, int]) -> None:
    """The smallest net of the family with that many parameters: the rung before it has too few."""

    least = factor * _count(net, width)
    assert grown(net, width, least, _count) == larger
    before = [(net, width), *rungs(net, width)]
    assert _count(*before[before.index(larger) - 1]) < least <= _count(*larger)


def test_every_family_of_the_ladder_grows() -> None:
    """Names that torchvision has, each with more parameters than the one before; beyond the last one nothing."""
    for family in FAMILIES:
        sizes = [_count(name, 1) for name in family[:2]]
        assert sizes == sorted(set(sizes)), family
    with pytest.raises(ValueError, match="efficientnet_b7 x1 is the largest of its family"):
        grown("torchvision/efficientnet_b7", 1, 1e9, lambda _name, _width: 0)


@cache
def _count(name: str, width: int, channels: int = 3, classes: int = 1000) -> int:
    with torch.device("meta"):
        net = build(name, channels=channels, classes=classes, width=width, dropout=0.0, stochastic_depth=0.0)
    return sum(p.numel() for p in net.parameters())


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
