"""DVC's graph as a list of stages."""

from pathlib import Path

import pytest

from flows.pipeline import dag
from tasks.errors import UserError
from tests.conftest import ROOT
from tests.flows.conftest import Toy

# pygtrie, which dvc uses, calls its own deprecated property.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon:DeprecationWarning")


def test_every_stage_comes_after_what_it_needs() -> None:
    """The project's own stages can run in the order given."""
    seen: set[str] = set()
    for name, needs in dag.stages(ROOT):
        assert set(needs) <= seen, f"{name} comes before {set(needs) - seen}"
        seen.add(name)
    assert {"ingest@digits", "student@r1", "student@r2", "report"} <= seen


def test_edges_are_those_of_dvc_that_say_something_new(tmp_path: Path) -> None:
    """A stage waits for whoever makes its dependencies, but not for those it waits for anyway."""
    toy = Toy(tmp_path / "toy", {"a": ("ok", []), "b": ("ok", ["a"]), "c": ("ok", ["a", "b"]), "d": ("ok", ["a"])})
    assert dict(dag.stages(toy.folder)) == {"a": [], "b": ["a"], "c": ["b"], "d": ["a"]}


def test_a_target_brings_only_what_it_stands_on() -> None:
    """`--stage b` leaves c alone."""
    graph: dag.Dag = [("a", []), ("b", ["a"]), ("c", ["b"])]
    assert dag.needed_for(graph, "b") == [("a", []), ("b", ["a"])]
    with pytest.raises(UserError, match="no stage 'x'"):
        dag.needed_for(graph, "x")


def test_a_broken_pipeline_is_a_users_error(tmp_path: Path) -> None:
    """dvc.yaml that is no YAML is named, without traceback."""
    toy = Toy(tmp_path / "toy", {"a": ("ok", [])})
    (toy.folder / "dvc.yaml").write_text("stages: {a: {cmd: ")
    with pytest.raises(UserError, match=r"dvc\.yaml"):
        dag.stages(toy.folder)
