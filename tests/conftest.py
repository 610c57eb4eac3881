"""Small real projects: a copy of the stages with tiny settings, run by real DVC."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
TINY_NET: dict[str, Any] = {"width": 1, "steps": 24}


settings.register_profile("ci", derandomize=True)  # the same examples every time: a red run means a change
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_configure() -> None:
    """A shell starts what runs in its background deaf to Ctrl-C, and all that it starts in turn; tests send that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure() -> None:
    """FiftyOne leaves mongod and connections to the end of the process: nothing is printed after the summary."""
    if "fiftyone" in sys.modules:
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


SHARED = ("server", "fo", "made")  # what takes seconds to start: its tests of a folder stay together on one worker


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests of a shared server for `--dist loadgroup`; all others go wherever a worker is free.

    One test makes the finished project, which takes a minute or two; those that need it too come after all that does
    not, or a worker would stand and wait for it. The small tests of this folder come last and fill what is left.
    """
    for item in items:
        for name in SHARED:
            if name in _needs(item):
                item.add_marker(pytest.mark.xdist_group(f"{item.path.parent.name}-{name}"))
                break
    first = next((item for item in items if "finished_project" in _needs(item)), None)

    def turn(item: pytest.Item) -> int:
        if item is first:
            return 0
        if "finished_project" in _needs(item):
            return 2
        return 3 if item.path.parent == Path(__file__).parent else 1

    items.sort(key=turn)


def _needs(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


class Project:
    """A workspace in a temporary folder with its own git and DVC."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(folder / ".work/dvc"),
            "DVC_NO_ANALYTICS": "1",  # or every command starts a process that reports itself
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "",
        }

    def run(self, *command: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in the project and return what it said."""
        return subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False, **kwargs
        )

    def alive(self) -> list[str]:
        """Command lines of the processes at work in this project, other than this one."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if process.name != str(os.getpid()) and os.readlink(process / "cwd") == str(self.folder):
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def repro(self, *args: str) -> list[str]:
        """`dvc repro`; the names of the stages that ran."""
        done = self.run("dvc", "repro", *args)
        assert done.returncode == 0, done.stdout + done.stderr
        return re.findall(r"^Running stage '(.+)':", done.stdout, flags=re.MULTILINE)

    def stage(self, *args: str) -> subprocess.CompletedProcess[str]:
        """One stage as a process, without DVC."""
        return self.run("python", "-m", "tasks", *args)

    def edit(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change params.yaml."""
        path = self.folder / "params.yaml"
        settings = yaml.load(path.read_text(), yaml.CSafeLoader)
        change(settings)
        path.write_text(yaml.dump(settings, Dumper=yaml.CSafeDumper, sort_keys=False))

    def copy(self, folder: Path) -> "Project":
        """The same project elsewhere."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)


def _tiny(settings: dict[str, Any]) -> None:
    settings["scan"].update(settle_seconds=0)
    settings["image"]["size"] = 8
    settings["split"].update(calib=0, gate=0)  # nets of 24 steps have nothing to say about held-out labels
    settings["train"].update(warmup=2, checkpoint_every=4, batch=20)
    settings["label"].update(batch=64, chunk=128)
    for net in (settings["teacher"], settings["baseline"], *(r["student"] for r in settings["rounds"].values())):
        net.update(TINY_NET)
    for entry in settings["rounds"].values():
        entry["curate"].update(threshold=0.0, max_share=1.0)
    settings["hold"].update(starvation=False, min_classes=0.0)  # 24 steps teach nothing


def free_port() -> int:
    """A port nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def fresh_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which nothing ran yet. Copy it before you change it."""
    project = Project(tmp_path_factory.mktemp("fresh") / "project")
    shutil.copytree(ROOT / "tasks", project.folder / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data/decisions", project.folder / "data/decisions")
    shutil.copytree(ROOT / "data/start", project.folder / "data/start")
    (project.folder / "data/distilled").mkdir()
    for name in ("data/distilled/README.md", "dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, project.folder / name)
    project.edit(_tiny)
    for command in (
        ("git", "init", "-q", "-b", "main"),
        ("dvc", "init", "-q"),
        ("dvc", "config", "core.analytics", "false"),
        ("dvc", "config", "core.check_update", "false"),
    ):
        done = project.run(*command)
        assert done.returncode == 0, done.stderr
    return project


@pytest.fixture(scope="session")
def finished_project(fresh_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after its first `dvc repro`, made once for all workers. Copy it before you change it."""
    base = tmp_path_factory.getbasetemp()
    home = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(home / "finished.lock"):
        if not (home / "finished").exists():
            project = fresh_project.copy(home / "unfinished")
            project.repro()
            project.folder.rename(home / "finished")
    return Project(home / "finished")


@pytest.fixture
def project(finished_project: Project, tmp_path: Path) -> Project:
    """A finished project to change at will."""
    return finished_project.copy(tmp_path / "project")
