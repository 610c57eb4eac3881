"""Any classification net of timm by name, `timm/resnet18` or `timm/NAME.TAG`, where the optional group is installed.

timm (PyTorch Image Models, Wightman 2019) is not among understudy's packages: `pip install understudy[timm]`. Written
against timm 1.0; its import takes seconds, so tasks/nets/catalog.py imports this module only for such a net.
"""

from importlib import import_module
from typing import Any

from torch import Tensor, nn

from tasks.errors import UserError
from tasks.nets.pixels import Pixels


class FromTimm(nn.Module):
    """uint8 images (B, C, H, W) to logits (B, classes); a net of one size only gets its images at that size."""

    def __init__(self, name: str, *, channels: int, classes: int, dropout: float, stochastic_depth: float) -> None:
        """UserError without timm; ValueError for an unknown net, or for noise that this net has no place for."""
        super().__init__()
        self.net = made(
            name, num_classes=classes, in_chans=channels, drop_rate=dropout, drop_path_rate=stochastic_depth
        )
        about = self.net.pretrained_cfg
        self.pixels = Pixels(about["input_size"][-1] if about.get("fixed_input_size") else None)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logits (B, classes)."""
        logit_BC: Tensor = self.net(self.pixels(image_BCHW, next(self.net.parameters())))
        return logit_BC


def timm() -> Any:
    """The library; UserError says how to get it."""
    try:
        return import_module("timm")
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        what = "nets named timm/... are made by timm, which is not installed"
        raise UserError("no_timm", what, "pip install 'timm>=1.0,<2', or choose another net") from None


def made(name: str, **wanted: Any) -> Any:
    """A net of timm. What is 0 in `wanted` is not passed on: not every net has a place for it."""
    library = timm()
    if not library.is_model(name):
        near = library.list_models(f"*{name.split('.', 1)[0][:6]}*")
        raise ValueError(f"timm has no net {name!r}; some it has: {', '.join(near[:20]) or library.list_models()[:20]}")
    try:
        return library.create_model(name, pretrained=False, **{k: v for k, v in wanted.items() if v})
    except TypeError as error:
        raise ValueError(f"timm/{name} cannot have one of {wanted}: {error}") from None


def scaling(name: str) -> tuple[list[float], list[float]]:
    """Mean and std of the pixels, one a channel, that the trained weights of a net expect."""
    library = timm()
    about = library.data.resolve_data_config(pretrained_cfg=library.get_pretrained_cfg(name).to_dict())
    return list(about["mean"]), list(about["std"])


def trained(name: str) -> dict[str, Tensor]:
    """The trained weights of a net, downloaded by timm. OSError or RuntimeError where they cannot be had."""
    state: dict[str, Tensor] = timm().create_model(name, pretrained=True).state_dict()
    return state
