"""Whose database it is: two projects reviewed at once by one user."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

CONNECT = """
from tasks.review import database
fo = database.connect()
fo.Dataset("theirs")
from fiftyone.core.odm.database import get_db_conn
[dbpath] = [get_db_conn().client.admin.command("getCmdLineOpts")["parsed"]["storage"]["dbPath"]]
print("found", dbpath, fo.list_datasets())
"""


def test_a_second_project_has_a_database_of_its_own(fo: Any, tmp_path: Path) -> None:
    """While one project's mongod runs, another's process starts its own, sees nothing of the first and, when it ends,
    removes nothing there: FiftyOne would attach it and clear away the half-built data set."""
    half_built = fo.Dataset("half-built")
    try:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        said = subprocess.run(
            [sys.executable, "-c", CONNECT], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        )
        assert f"found {tmp_path / '.fiftyone/db'} ['theirs']" in said.stdout
        half_built.add_sample(fo.Sample(filepath="a.png"))
        assert fo.list_datasets() == ["half-built"]
    finally:
        fo.delete_dataset("half-built")
