"""Trained weights of torchvision and timm: same logits as theirs, fetched once, refused when they are not the file."""

import hashlib
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from tasks.errors import UserError
from tasks.models import build_from
from tasks.nets import pretrained
from tasks.starts import Start

CLASSES = [f"class {i}" for i in range(1000)]


def _images(channels: int = 3, size: int = 224) -> torch.Tensor:
    gen = torch.Generator().manual_seed(0)
    return torch.randint(256, (2, channels, size, size), generator=gen, dtype=torch.uint8)


def _built(name: str, channels: int, tensors: dict[str, torch.Tensor], dropout: float = 0.0) -> nn.Module:
    """Our net with theirs in it, head included."""
    scaling = pretrained.scaling(name)
    assert scaling is not None
    card = {"net": name, "channels": channels, "width": 1, "dropout": dropout, "stochastic_depth": 0.0}
    net = build_from(card | {"classes": CLASSES, "pixels": {"mean": scaling[0], "std": scaling[1]}})
    Start(Path("a file"), pretrained.as_ours(name, tensors), keeps_head=not dropout).into(net)
    return net.eval()


@torch.no_grad()
@pytest.mark.parametrize(("name", "size"), [("resnet18", 224), ("googlenet", 224), ("densenet121", 64)])
def test_torchvisions_nets_answer_as_they_do_there(name: str, size: int) -> None:
    """Its own preprocessing before its own net, with `transform_input` where trained weights come with it; grey images
    as grey images in color."""
    torch.manual_seed(0)
    more = {"aux_logits": True, "transform_input": True, "init_weights": False} if name == "googlenet" else {}
    theirs = torchvision.models.get_model(name, weights=None, **more).eval()
    preprocess = torchvision.models.get_model_weights(name).DEFAULT.transforms(crop_size=size, resize_size=size)
    for channels in (3, 1):
        image_BCHW = _images(channels, size)
        want = theirs(preprocess(image_BCHW.expand(-1, 3, -1, -1)))
        ours = _built(f"torchvision/{name}", channels, theirs.state_dict())(image_BCHW)
        torch.testing.assert_close(ours, want, atol=1e-4, rtol=1e-4)


def test_a_dropout_before_the_head_does_not_hide_it() -> None:
    """`fc` becomes `fc.1` then; their head is left out, all else is there."""
    theirs = torchvision.models.resnet18()
    net = _built("torchvision/resnet18", 3, theirs.state_dict(), dropout=0.5)
    assert torch.equal(net.state_dict()["net.layer4.1.conv2.weight"], theirs.state_dict()["layer4.1.conv2.weight"])
    with pytest.raises(UserError, match=r"lacks net\.conv1\.weight"):
        _built("torchvision/resnet18", 3, {k: v for k, v in theirs.state_dict().items() if k != "conv1.weight"})
    with pytest.raises(UserError, match=r"holds net\.layer5\.weight"):
        _built("torchvision/resnet18", 3, theirs.state_dict() | {"layer5.weight": torch.zeros(1)})


def test_a_file_is_fetched_once_and_is_the_right_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a server of this machine, by HTTP and as a mirror; what its name does not promise is not kept."""
    served, folder = tmp_path / "served", tmp_path / "weights"
    served.mkdir()
    folder.mkdir()
    content = b"weights"
    good = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (served / good).write_bytes(content)
    (served / "resnet18-f37072fd.pth").write_bytes(content)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        path = pretrained.download(f"{address}/{good}", folder)
        monkeypatch.setenv(pretrained.MIRROR, address)
        with pytest.raises(RuntimeError, match="invalid hash"):
            pretrained.fetch("torchvision/resnet18", folder)
        server.shutdown()
    assert pretrained.download(f"{address}/{good}", folder) == path
    assert [p.name for p in folder.iterdir()] == [good]
    with pytest.raises(OSError, match=r"refused"):
        pretrained.fetch("torchvision/resnet18", folder)


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
def test_without_timm_it_says_what_to_install() -> None:
    """No traceback of an import."""
    with pytest.raises(UserError, match="pip install 'timm"):
        pretrained.scaling("timm/resnet18")


class _Toy(nn.Module):
    """A stand-in for a net of timm: what the adapter touches of one."""

    def __init__(self, num_classes: int, in_chans: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.pretrained_cfg = {"input_size": (3, 16, 16), "fixed_input_size": True}
        self.conv, self.drop = nn.Conv2d(in_chans, 4, 16), nn.Dropout(drop_rate)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc(self.drop(self.conv(x).flatten(1)))
        return out


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm itself is there")
def test_the_adapter_of_timm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Against a stand-in, since timm is an optional extra: names, noise it has no place for, sizes, trained weights.
    The same calls were made with timm 1.0.31 (docs/decisions.md)."""
    library = ModuleType("timm")
    trained = _Toy(1000, 3)

    def create(name: str, pretrained: bool = False, **wanted: Any) -> nn.Module:
        return trained if pretrained else _Toy(**wanted)

    vars(library).update(
        is_model=lambda name: name == "toy",
        list_models=lambda _filter="": ["toy"],
        create_model=create,
        get_pretrained_cfg=lambda _: SimpleNamespace(to_dict=lambda: {"mean": (0.5,) * 3, "std": (0.5,) * 3}),
        data=SimpleNamespace(resolve_data_config=lambda pretrained_cfg: pretrained_cfg),
    )
    monkeypatch.setitem(sys.modules, "timm", library)
    path, _ = pretrained.fetch("timm/toy", tmp_path)
    assert path.name == "timm-toy.safetensors"
    net = _built("timm/toy", 1, trained.state_dict())
    image_BCHW = _images(1, 16)
    want = trained.eval()((image_BCHW.expand(-1, 3, -1, -1) / 255 - 0.5) / 0.5)
    torch.testing.assert_close(net(image_BCHW), want)
    assert net(_images(1, 40)).shape == (2, 1000), "brought to the one size the net takes"
    card = {"net": "timm/toy", "channels": 3, "width": 1, "dropout": 0.5, "classes": ["a", "b"]}
    with pytest.raises(UserError, match="cannot have one of"):
        build_from(card | {"stochastic_depth": 0.1})
    with pytest.raises(UserError, match="timm has no net 'tay'"):
        build_from(card | {"net": "timm/tay", "stochastic_depth": 0.0})
