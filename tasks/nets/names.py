"""The names of all nets, without torch: settings are checked before anything heavy is imported."""

RESIDUAL = ("resnet9", "wrn10", "wrn10mp", "wrn16", "wrn28")  # nets whose blocks can be skipped
PLAIN = ("alexnet", "alexnet_small", "lenet5", "vgg11", "vgg11_small", "vgg16", "vgg16_small")
AUTO = "auto"  # a student of its teacher's family, larger by `grow` (tasks/nets/ladder.py)
WIDEST = 64
TORCHVISION = "torchvision/"  # torchvision/resnet18 and any other classification net of torchvision
TIMM = "timm/"  # timm/resnet18 and any other net of timm, where that is installed


def mistake(name: str, width: int, stochastic_depth: float) -> str | None:
    """What is wrong with a net's name, or with a setting that this net cannot have; None where all is well."""
    if name == AUTO:
        return "auto grows a teacher's net, so it is for students; name a net"
    if name.startswith((TORCHVISION, TIMM)):
        return f"{name} has one size: set width to 1" if width != 1 else None
    if name not in RESIDUAL + PLAIN:
        return f"unknown net {name!r}; known: {', '.join(sorted(RESIDUAL + PLAIN))}, {TORCHVISION}NAME, {TIMM}NAME"
    if name in PLAIN and stochastic_depth:
        return f"{name} has no residual block to skip: set stochastic_depth to 0"
    return None
