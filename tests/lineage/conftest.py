"""A small project with two committed versions: real ingest, split, label and curate, a net that nobody trained."""

import contextlib
import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tasks import decisions, files, held
from tasks.decisions import Decision
from tasks.params import load
from tests import fabricated
from tests.conftest import Project
from tests.images.workspace import Workspace, write_all

POOL = [f"pool/{n}.png" for n in range(30)]
NETS = ("data/models/r0", "data/champions/r0")
STAGES = {
    "ingest": (["source"], ["ingest"], ["data/images/own", "data/catalog/own", "data/quarantine/own"]),
    "split": (["data/catalog", "data/decisions/conflicts.csv"], ["seed", "split"], ["data/split", "data/sealed"]),
    "teacher": (["data/split"], ["image", "train", "teacher"], [*NETS]),
    "label": (["data/images", "data/split", *NETS], ["image", "label"], ["data/probs/r1"]),
    "curate": (["data/probs/r1", "data/decisions/r1.csv"], ["rounds.r1.curate"], ["data/labels/r1"]),
}


@dataclass(frozen=True)
class Versions:
    """The project as it lies there, which is its second version, and what was put into it. Copy it to change it."""

    project: Project
    first: str  # the commits
    second: str
    before: dict[str, str]  # path → image_id in the first version
    now: dict[str, str]

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.project.folder


def picture(number: int, format_: str = "PNG") -> bytes:
    """A smooth picture, another one for every number; as a JPEG it is a near copy of itself as a PNG."""
    rough = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(rough).resize((40, 40), Image.Resampling.BICUBIC).save(stream, format_)
    return stream.getvalue()


FIRST = {
    **{f"labeled/{name}/{n}.png": picture(100 * c + n) for c, name in enumerate("ab") for n in range(12)},
    **{path: picture(1000 + n) for n, path in enumerate(POOL)},
    **{f"test/{name}/{n}.png": picture(2000 + 100 * c + n) for c, name in enumerate("ab") for n in range(2)},
    "pool/near-test.jpg": picture(2000, "JPEG"),
    "pool/near-labeled.jpg": picture(3, "JPEG"),
    "labeled/b/contradicts.jpg": picture(2, "JPEG"),
    "labeled/a/torn.png": picture(3000),
    "labeled/b/torn.png": picture(3000),
    "pool/broken.png": b"\x89PNG\r\n\x1a\n no picture",
    "pool/leaves.png": picture(4000),
    "pool/edited.png": picture(4001),
}
SECOND = {"pool/edited.png": picture(4002), "pool/fresh.png": picture(4003)}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """Made once; read only."""
    folder = tmp_path_factory.mktemp("lineage") / "project"
    sections: dict[str, Any] = {"split": {"labels": 12, "test": 0, "calib": 2, "gate": 2}}
    sections["split"]["duplicates"] = {"near": True, "distance": 0.2, "max_conflicts": 1.0}
    sections["image"] = {"size": 32, "channels": 3}
    workspace, project = Workspace(folder, **sections), Project(folder)
    project.edit(lambda settings: settings["rounds"]["r1"]["curate"].update(threshold=0.6, max_share=1.0, per_class=8))
    write_all(workspace.source, FIRST)
    _pipeline(folder)
    _good(project, "git", "init", "-q", "-b", "main")
    _good(project, "git", "config", "user.name", "Ann")
    _good(project, "git", "config", "user.email", "ann@example.org")
    _good(project, "dvc", "init", "-q")
    with workspace.inside():
        files.replace_file(files.decisions("r1"), ",".join(decisions.HEADER) + "\n")
        _net()
    first = _run(workspace, project, "the first run")
    before = _paths(workspace)
    write_all(workspace.source, SECOND)
    (workspace.source / "pool/leaves.png").unlink()
    project.edit(lambda settings: settings["rounds"]["r1"]["curate"].update(threshold=0.55, per_class=None))
    with workspace.inside():
        said = Decision(before[POOL[0]], "relabel", "", "b", "Bea", "2026-01-02T03:04:05+00:00", "0" * 64)
        decisions.append(files.decisions("r1"), [said])
    second = _run(workspace, project, "a lower threshold")
    return Versions(project, first, second, before, _paths(workspace))


@pytest.fixture
def versions(made: Versions, monkeypatch: pytest.MonkeyPatch) -> Versions:
    """The test stands in it, and leaves it as it is."""
    return _entered(made, monkeypatch)


@pytest.fixture
def own(made: Versions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Versions:
    """A copy to change; the test stands in it."""
    copy = Versions(made.project.copy(tmp_path / "project"), made.first, made.second, made.before, made.now)
    return _entered(copy, monkeypatch)


def _entered(versions: Versions, monkeypatch: pytest.MonkeyPatch) -> Versions:
    monkeypatch.chdir(versions.folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", versions.project.env["DVC_SITE_CACHE_DIR"])
    return versions


def _pipeline(folder: Path) -> None:
    """Only what DVC shall record: the stages are run by hand."""
    each = {"ingest": "own", "label": "r1", "curate": "r1"}
    pipeline: dict[str, Any] = {}
    for name, (deps, params, outs) in STAGES.items():
        stage = {"cmd": "true", "deps": deps, "params": params, "outs": outs}
        pipeline[name] = {"foreach": [each[name]], "do": stage} if name in each else stage
    (folder / "dvc.yaml").write_text(yaml.dump({"stages": pipeline}, Dumper=yaml.CSafeDumper, sort_keys=False))
    (folder / ".gitignore").write_text(".work/\n")
    (folder / ".dvcignore").write_text(".work/\n")


def _net() -> None:
    """An untrained net with opinions, as teacher and as champion."""
    import torch

    from tasks.models import build_from, save_model

    card = {"net": "lenet5", "width": 1, "dropout": 0.0, "stochastic_depth": 0.0, "classes": ["a", "b"], "key": "r0"}
    card |= load().image.model_dump()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build_from(card).eval()
    with torch.no_grad():
        list(net.parameters())[-2].mul_(12)
    staged = files.WORK / "net"
    staged.mkdir(parents=True)
    save_model(staged, net, card)
    held.write(staged, held.table([], [], [], np.empty((0, 2), np.float32)), ["a", "b"], seed=0)
    files.write_json(
        {"outcome": "first", "net": "r0", "champion": "r0", "holds": 0, "stop": False}, staged / "decision.json"
    )
    files.seal(staged, {"stage": "teacher", "version": "0.0.1", "inputs": {}, "params": {}})
    for target in map(Path, NETS):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(staged, target)


def _run(workspace: Workspace, project: Project, subject: str) -> str:
    """All stages as `dvc repro` would run them, and both commits; the hash of git's."""
    from tasks import curate, label

    for name in ("ingest", "fingerprint", "split"):
        code, said = workspace.run(name)
        assert code == 0, said
    with workspace.inside(), contextlib.redirect_stdout(io.StringIO()):
        fabricated.run(label.label, label.PARAMS, load(), "r1")
        fabricated.run(curate.curate, curate.PARAMS, load(), "r1")
    _good(project, "dvc", "commit", "-f", "-q")
    _good(project, "git", "add", "-A")
    _good(project, "git", "commit", "-q", "-m", subject)
    return _good(project, "git", "rev-parse", "HEAD").strip()


def _paths(workspace: Workspace) -> dict[str, str]:
    return {row["path"]: row["image_id"] for row in workspace.table("catalog/own/images")}


def _good(project: Project, *command: str) -> str:
    done = project.run(*command)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
