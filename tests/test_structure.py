"""The import rules of the design, and dvc.yaml held against the code."""

import ast
import importlib
from pathlib import Path

import networkx as nx
import pytest
import yaml

from tasks import stage
from tasks.__main__ import STAGES
from tests.conftest import ROOT

IMPORT_DVC = {
    "flows.pipeline.dag",
    "flows.pipeline.forkserver",
    "flows.pipeline.mended",
    "flows.versions.storage",
}  # import it
SOURCES = sorted([*(ROOT / "tasks").rglob("*.py"), *(ROOT / "flows").rglob("*.py")])
PLUMBING = {*stage.PLUMBING, "tasks"}
DVC = yaml.load((ROOT / "dvc.yaml").read_text(), yaml.CSafeLoader)["stages"]


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path) -> set[str]:
    """Full names of all modules a file imports, at the top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


GRAPH = nx.DiGraph()
GRAPH.add_nodes_from(_module(path) for path in SOURCES)
for _path in SOURCES:
    GRAPH.add_edges_from((_module(_path), name) for name in _imports(_path) if name in GRAPH and name != _module(_path))


def _outside(path: Path) -> set[str]:
    return {name.split(".")[0] for name in _imports(path)}


def test_no_import_cycles() -> None:
    """Imports run one way."""
    assert list(nx.simple_cycles(GRAPH)) == []


@pytest.mark.parametrize("path", sorted((ROOT / "tasks/core").glob("*.py")), ids=lambda p: p.stem)
def test_core_is_pure(path: Path) -> None:
    """core knows tensors and arrays: no files, settings, DVC, Prefect, FiftyOne or torchvision."""
    assert not _outside(path) & {
        "yaml",
        "dvc",
        "prefect",
        "fiftyone",
        "pathlib",
        "pyarrow",
        "pandas",
        "torchvision",
        "os",
    }
    assert all(name.startswith("tasks.core") for name in _imports(path) if name.startswith(("tasks", "flows")))


def test_stages_meet_only_in_files() -> None:
    """No stage imports another one, and nothing below the stages imports a stage."""
    stages = {f"tasks.{name}" for name in STAGES}
    assert not [edge for edge in GRAPH.edges if edge[1] in stages]


def test_flows_never_import_torch_and_only_review_imports_fiftyone() -> None:
    """The orchestration stays light; FiftyOne stays in one room; DVC's internals in few modules."""
    for path in SOURCES:
        name = _module(path)
        if name.startswith("flows"):
            assert not _outside(path) & {"torch", "torchvision"}, name
        assert "fiftyone" not in _outside(path) or name.startswith("tasks.review"), name
        assert "dvc" not in _outside(path) or name in IMPORT_DVC, name
        assert "prefect" not in _outside(path) or name.startswith("flows"), name


def test_no_cellar() -> None:
    """No module is called utils, helpers or common."""
    assert not [path for path in SOURCES if path.stem in {"utils", "helpers", "common", "misc"}]


@pytest.mark.parametrize("name", STAGES)
def test_dvc_yaml_lists_what_a_stage_uses(name: str) -> None:
    """cmd, params and code dependencies of a stage are those of its module."""
    entry = DVC[name].get("do", DVC[name])
    each = " ${key}" if "do" in DVC[name] else ""
    assert entry["cmd"] == f"exec python -m tasks {name}{each}", (
        "without exec a shell may stand between DVC and the stage"
    )
    module = importlib.import_module(f"tasks.{name}")
    assert [p.replace("${key}", "{key}") for p in entry["params"]] == [*module.PARAMS, *getattr(module, "STOPS", ())]
    used = {f"tasks.{name}", *nx.descendants(GRAPH, f"tasks.{name}")} - PLUMBING
    expected = {f"{m.replace('.', '/')}.py" for m in used if not (ROOT / m.replace(".", "/")).is_dir()}
    listed = {dep for dep in entry["deps"] if dep.endswith(".py")}
    assert listed | {"tasks/images/digits.py"} == expected | {"tasks/images/digits.py"}


def test_every_room_is_described() -> None:
    """Each module says in its first line what it is for."""
    for path in SOURCES:
        text = path.read_text()
        assert not text or ast.get_docstring(ast.parse(text)), path


def test_tests_do_not_import_tests() -> None:
    """What several of them need has a module of its own: to change a test breaks no other one."""
    for path in (ROOT / "tests").rglob("*.py"):
        parts = {part for name in _imports(path) if name.startswith("tests.") for part in name.split(".")}
        assert not [part for part in parts if part.startswith("test_")], path
