"""Runs under `understudy serve`: approval, relabeling, alerts, with real kills.

No browser: the server is asked as its pages ask it.
"""

from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tasks import approvals, files
from tests.flows.conftest import UNDERSTUDY, eventually
from tests.ui.served import RELABELED, Served, hours_pass

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def test_a_student_waits_for_a_person_25_hours_and_a_crash_of_the_machine(served: Served) -> None:
    """Suspended, no process is left; wrong answers are asked again; server and worker killed and 25 hours later the
    answer promotes the student: one row in git, another threshold for the next labels, nothing but the gate ran."""
    (served.toy.folder / "pool/one").write_text("looked at")
    served.undecided()
    served.ran()
    run = served.begin("self-training")
    state = served.ends(run, "Suspended")
    eventually(lambda: served.engines() == [])
    assert served.alert("waiting", run)["flow"] == "self-training"
    assert served.ran() == RELABELED
    card = served.server.artifacts(run)["approval-r1"]
    assert "not_worse" in card
    assert "not measured" in card
    for wrong in ({"threshold": 1.7}, {"decision": "maybe"}, {"who": ""}):
        answer = {"decision": "promote", "who": "ada", "why": "looked"} | wrong
        assert served.resume(run, **answer) == "REJECT"
    assert served.resume(run) == "REJECT"
    assert served.state(run)["id"] == state["id"]

    served.kill()
    hours_pass(served.toy.folder / ".prefect/prefect.db", 25)
    served.start()
    assert served.state(run)["name"] == "Suspended"
    waited = datetime.now(UTC) - datetime.fromisoformat(served.state(run)["timestamp"])
    assert waited > timedelta(hours=24.9)
    assert served.resume(run, decision="promote", who="ada", why="  ", threshold=0.7) == "ACCEPT"
    eventually(lambda: served.state(run)["name"] == "Suspended" and served.state(run)["id"] != state["id"], 120)
    asked = "asked again: a decision needs a name and a reason"  # a run sends its log when it finds the time
    eventually(lambda: any(asked in line for line in served.server.log(run)))

    assert served.resume(run, decision="promote", who="ada", why="looked", threshold=0.7) == "ACCEPT"
    served.ends(run, "Completed")
    with chdir(served.toy.folder):
        rows = approvals.read(files.APPROVALS)
        assert [(row.round, row.action, row.who, row.threshold) for row in rows] == [("r1", "promote", "ada", "0.7")]
        assert files.read_json(files.champion("r1") / "decision.json")["by"]["who"] == "ada"
        assert (
            yaml.load(Path("params.yaml").read_text(), yaml.CSafeLoader)["rounds"]["r2"]["curate"]["threshold"] == 0.7
        )
    assert served.ran() == []


def test_a_word_in_the_ledger_brings_a_waiting_run_back(served: Served) -> None:
    """`understudy approve` in a terminal, and a row that came with git: the run goes on by itself within a minute."""
    ledger = served.undecided()
    header = ledger.read_text()
    run = served.begin("self-training")
    served.ends(run, "Suspended")
    said = served.toy.run(UNDERSTUDY, "approve", "r1", "--hold", "--why", "not before the audit", "--who", "ada")
    assert said.returncode == 0, said.stderr
    served.ends(run, "Completed", 60)
    worker = (served.toy.folder / ".prefect/worker.log").read_text()  # it may have looked in that very second
    assert f"the run {served.server.get(f'flow_runs/{run}')['name']} goes on" in said.stdout + worker
    with chdir(served.toy.folder):
        assert files.read_json(files.champion("r1") / "decision.json")["by"]["why"] == "not before the audit"
    row = ledger.read_text().removeprefix(header)

    served.undecided()
    run = served.begin("self-training")
    served.ends(run, "Suspended")
    ledger.write_text(header + row.replace("hold", "promote"))
    served.ends(run, "Completed", 60)
    with chdir(served.toy.folder):
        assert files.read_json(files.champion("r1") / "decision.json")["champion"] == "r1"
    served.ran()


def test_new_images_are_labeled_once_and_overlapping_runs_are_skipped(served: Served) -> None:
    """Two more files, two predictions; a run that comes meanwhile is skipped and says why, from the pages and from a
    terminal; nothing new runs no stage; drift is held and told."""
    pool, wait = served.toy.folder / "pool", served.toy.folder / "wait"
    for name in ("two", "three"):
        (pool / name).touch()
    (pool / "two").write_text("2")
    wait.touch()
    first = served.begin("relabel")
    eventually(lambda: (served.toy.folder / "ran").exists() and "label" in (served.toy.folder / "ran").read_text(), 60)
    second = served.begin("relabel")
    eventually(lambda: served.state(second)["type"] == "CANCELLED", 60)
    assert "oncurrency limit" in served.state(second)["message"]
    bare = served.toy.run(UNDERSTUDY, "relabel")
    assert bare.returncode == 75
    assert f"the run relabel {served.server.get(f'flow_runs/{first}')['name']}" in bare.stderr
    wait.unlink()
    done = served.ends(first, "Relabeled")
    assert "r1: 2 images predicted by r0, 3 in the pool" in done["message"]
    assert served.ran() == RELABELED
    assert "nothing new" in served.ends(served.begin("relabel"), "Nothingnew")["message"]
    assert served.ran() == []

    (pool / "foreign").write_text("!")
    run = served.begin("relabel")
    assert "the pool moved" in served.ends(run, "Drift")["message"]
    assert "the pool moved" in served.alert("drift", run)["message"]
    (pool / "foreign").unlink()
    (pool / "contradicted").touch()
    run = served.begin("relabel")
    assert "curate@r1: error [hold]: the labels contradict" in served.ends(run, "Held")["message"]
    assert "the labels contradict" in served.alert("held", run)["text"]
    (pool / "contradicted").unlink()
    served.ends(served.begin("relabel"), "Relabeled")
    served.ran()


def test_runs_that_were_missed_are_one_run(served: Served) -> None:
    """Down over several due times: exactly one run starts, the others are cancelled and say so."""
    served.toy.edit(lambda raw: raw["schedule"].update(cron="* * * * *", timezone="Europe/Berlin"))
    served.kill()
    served.start()
    of = served.server.get("deployments/name/relabel/relabel")["id"]
    wanted = {"deployments": {"id": {"any_": [of]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    eventually(lambda: len(served.server.post("flow_runs/filter", wanted)) >= 3, 90)
    served.kill()
    hours_pass(served.toy.folder / ".prefect/prefect.db", 3)
    served.toy.edit(lambda raw: raw["schedule"].update(cron=None))
    served.start()

    def ended() -> list[str]:
        runs = served.server.post("flow_runs/filter", {"deployments": {"id": {"any_": [of]}}})
        return [run["state"]["name"] for run in runs if run["auto_scheduled"]]

    eventually(lambda: "Nothingnew" in ended(), 60)
    eventually(lambda: not {"Scheduled", "Late", "Pending", "Running"} & {*ended()}, 30)
    assert ended().count("Nothingnew") == 1
    assert ended().count("Skipped") >= 2
