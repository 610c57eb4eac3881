"""Which stages new images take, and what is said of the rest: on made-up artefacts, without DVC."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import refresh
from flows.pipeline.dag import Dag
from flows.pipeline.repro import Outcome, ending
from tasks import files
from tasks.errors import UserError
from tasks.params import PARAMS_FILE, load
from tests import fabricated

GRAPH: Dag = [
    ("ingest@own", []),
    ("fingerprint@own", ["ingest@own"]),
    ("split", ["fingerprint@own"]),
    ("labeled", ["split"]),
    ("teacher", ["labeled"]),
    ("label@r1", ["teacher"]),
    ("curate@r1", ["label@r1"]),
    ("drift@r1", ["curate@r1"]),
    ("student@r1", ["drift@r1"]),
    ("gate@r1", ["student@r1"]),
    ("label@r2", ["gate@r1"]),
    ("curate@r2", ["label@r2"]),
    ("drift@r2", ["curate@r2"]),
    ("student@r2", ["drift@r2"]),
    ("gate@r2", ["student@r2"]),
    ("report", ["gate@r2"]),
]


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Say which net stands after each round."""
    monkeypatch.chdir(tmp_path)
    fabricated.settings()

    def stand(**net_of: str) -> refresh.Plan:
        for round_, net in net_of.items():
            folder = files.CHAMPION if round_ == "now" else files.champion(round_)
            fabricated.publish(folder, card={"key": net})
        return refresh.plan(load())

    return stand


@pytest.mark.parametrize(
    ("net_of", "round_", "net"),
    [
        ({"r0": "r0", "now": "r0"}, "r1", "r0"),  # r1 waits, or was never trained
        ({"r0": "r0", "r1": "r1", "r2": "r2", "now": "r2"}, "r2", "r1"),  # the champion labels no round
        ({"r0": "r0", "r1": "r0", "r2": "r0", "now": "r0"}, "r2", "r0"),  # all held
        ({"r0": "r0", "r1": "r1", "r2": "r2", "now": "r1"}, "r2", "r1"),  # rolled back
        ({"r0": "r0", "r1": "r1", "r2": "r2", "now": "r0"}, "r1", "r0"),  # rolled back further
    ],
)
def test_the_champion_labels_where_it_teaches(nets: Any, net_of: dict[str, str], round_: str, net: str) -> None:
    """And only stages up to the labels of that round are run: no net, no gate, no other round."""
    plan = nets(**net_of)
    assert (plan.round, plan.net) == (round_, net)
    intake = ["ingest@own", "fingerprint@own", "split", "labeled"]
    assert plan.stages(GRAPH) == [*intake, *(f"{name}@{round_}" for name in ("label", "curate", "drift"))]


def test_without_a_champion_nobody_labels(nets: Any) -> None:
    """Exit 2, and the command that makes one."""
    with pytest.raises(UserError, match="no champion"):
        nets(r0="r0")


def test_what_is_out_of_date_is_what_changed_and_all_that_stands_on_it() -> None:
    """In the order in which it would run."""
    assert refresh._stale(GRAPH, {"label@r2": []}) == [name for name, _ in GRAPH[10:]]
    assert refresh._stale(GRAPH, {"report": []}) == ["report"]


def test_an_alarm_is_not_a_mistake() -> None:
    """What a run is called that ended with a stage: alerts tell them apart."""
    assert [ending("drift@r1", 4), ending("curate@r1", 4), ending("drift@r1", 2)] == ["Drift", "Held", "Failed"]


@pytest.mark.parametrize(
    ("retrain", "grown", "stale", "due"),
    [
        ("never", 9.0, ["student@r1"], False),
        ("ask", 0.3, ["student@r1"], True),
        ("ask", 0.1, ["student@r1"], False),
        ("grown", 0.2, ["student@r1"], True),
        ("grown", 9.0, ["report"], False),
        ("ask", None, ["student@r1"], False),
    ],
)
def test_a_training_is_due_by_the_settings_alone(
    nets: Any, retrain: str, grown: float | None, stale: list[str], due: bool
) -> None:
    """`relabel.grown` is 0.2 here; where nobody knows the growth, nothing is due."""
    raw = yaml.load(PARAMS_FILE.read_text(), yaml.CSafeLoader)
    raw["relabel"] |= {"retrain": retrain, "grown": 0.2}
    PARAMS_FILE.write_text(yaml.dump(raw, Dumper=yaml.CSafeDumper))
    done = refresh.Refreshed("Relabeled", "", stale=stale, grown=grown)
    assert refresh._due(load(), done) is due


def test_a_killed_stage_is_told_as_it_ended() -> None:
    """The message of the stage is the run's."""
    plan = refresh.Plan("r1", "r0")
    stopped = refresh._stopped(plan, "label@r1", Outcome(75, "killed by SIGKILL"))
    assert (stopped.name, stopped.exit_code, stopped.message) == ("Failed", 75, "label@r1: killed by SIGKILL")
