"""Starting the App: FiftyOne's session, with its server behind our guard (tasks/review/app_server.py)."""

import atexit
import http.client
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import tasks
from tasks import files
from tasks.errors import UserError
from tasks.review import database

ADDRESS = "127.0.0.1"
LOOK = 3.0  # seconds between looks for mongod
PATIENCE = 10_000  # milliseconds for its answer: a busy one is not gone
START = (
    300  # seconds for the App's server to answer: FiftyOne waits 60, which a busy machine needs for its imports alone
)
FOLDERS = (files.WORK / "review", files.WORK / "audit")  # all pictures ever shown lie below these
REFUSED: tuple[tuple[str, dict[str, str]], ...] = (
    ("/", {"Host": "example.org"}),
    ("/fiftyone", {"Origin": "http://example.org"}),
    (f"/media?filepath={sys.executable}", {}),
)


def launch(fo: Any, data: Any, port: int) -> Any:
    """Open a session on a data set, on loopback. AssertionError, and no server left, when the guard does not guard."""
    _use_guarded_server()
    session = fo.launch_app(data, remote=True, address=ADDRESS, port=port)
    for path, headers in REFUSED:
        if (status := _status(port, path, headers)) != 403:
            session.close()
            raise AssertionError(f"the App's server answers {status} to {path} with {headers}: it was stopped")
    return session


def wait() -> None:
    """Until Ctrl-C. UserError within seconds when mongod is gone: the App only shows that nothing loads."""
    import psutil
    import pymongo
    from fiftyone.core.odm import database as odm
    from pymongo.errors import PyMongoError

    where = os.environ.get(database.URI) or "mongodb://{}:{}".format(*odm.get_db_conn().client.address)
    client: Any = pymongo.MongoClient(where, serverSelectionTimeoutMS=PATIENCE)
    with client:
        while True:
            try:
                client.admin.command("ping")
            except PyMongoError as error:
                for child in psutil.Process().children(recursive=True):  # the App's server would wait for mongod, too
                    with suppress(psutil.NoSuchProcess):
                        child.kill()
                atexit.unregister(odm._delete_non_persistent_datasets_if_allowed)  # it would wait for mongod, and fail
                what = f"mongod, FiftyOne's database, is gone ({type(error).__name__}): the App shows and keeps nothing"
                fix = "run the same command again: what you said until then is there"
                started = f"start the mongod of {database.URI}, then " if database.URI in os.environ else ""
                raise UserError("database_gone", what, started + fix) from None
            time.sleep(LOOK)


def _use_guarded_server() -> None:
    """From now on a session of this process starts our server instead of FiftyOne's."""
    from fiftyone.core import service

    folders = [str(folder.absolute()) for folder in FOLDERS]
    code = str(Path(tasks.__file__).parents[1])

    class Guarded(service.ServerService):  # type: ignore[misc]
        working_dir = "."

        @property
        def command(self) -> list[str]:
            """The process to start."""
            where = ["--port", str(self.port), "--address", ADDRESS]
            return [sys.executable, "-P", "-m", "tasks.review.app_server", *where, *folders]

        @property
        def env(self) -> dict[str, str]:
            """With this very code, wherever it is started."""
            path = os.pathsep.join([code, *filter(None, [os.environ.get("PYTHONPATH")])])
            return {**super().env, "PYTHONPATH": path}

        def _wait_for_child_port(self, port: int | None = None, timeout: float = START) -> Any:
            return super()._wait_for_child_port(port, timeout)

    service.ServerService = Guarded


def _status(port: int, path: str, headers: dict[str, str]) -> int:
    asked = http.client.HTTPConnection(ADDRESS, port, timeout=60)
    try:
        asked.request("GET", path, headers=headers)
        return asked.getresponse().status
    finally:
        asked.close()
