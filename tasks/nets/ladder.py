"""`net: auto`: a student larger than its teacher by a stated factor, as the paper grows its nets (B7, L0, L1, L2)."""

from collections.abc import Callable, Iterator

from tasks.nets.names import TIMM, TORCHVISION, WIDEST

# Nets of one size each: the next ones of the family, smaller to larger. All others grow by their width.
FAMILIES = (
    tuple(f"{TORCHVISION}efficientnet_b{n}" for n in range(8)),
    tuple(f"{TORCHVISION}efficientnet_v2_{size}" for size in "sml"),
    tuple(f"{TORCHVISION}resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    tuple(f"{TORCHVISION}convnext_{size}" for size in ("tiny", "small", "base", "large")),
    tuple(f"{TORCHVISION}densenet{depth}" for depth in (121, 169, 201)),
    tuple(f"{TORCHVISION}mobilenet_v3_{size}" for size in ("small", "large")),
)


def grown(net: str, width: int, least: float, count: Callable[[str, int], int]) -> tuple[str, int]:
    """The smallest net of the teacher's family with at least `least` parameters, as name and width.

    `count` says how many a net has. ValueError where the family has none so large, naming the largest.
    """
    found = (net, width)
    for found in rungs(net, width):
        if count(*found) >= least:
            return found
    name, width = found
    raise ValueError(f"{name} x{width} is the largest of its family, and has fewer than {least:,.0f} parameters")


def rungs(net: str, width: int) -> Iterator[tuple[str, int]]:
    """What comes after a net in its family, name and width, each larger than the one before."""
    if net.startswith((TORCHVISION, TIMM)):
        family = next((family for family in FAMILIES if net in family), (net,))
        yield from ((name, 1) for name in family[family.index(net) + 1 :])
    else:
        yield from ((net, wider) for wider in range(width + 1, WIDEST + 1))
