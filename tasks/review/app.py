"""Starting the App: FiftyOne's session, with its server behind our guard (tasks/review/app_server.py)."""

import atexit
import http.client
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import tasks
from tasks import files
from tasks.errors import Busy, UserError
from tasks.review import clicks, database, inbox

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


def say(address: str) -> None:
    """Where the App is."""
    print(f"FiftyOne: {address}\nCtrl-C closes it; what you correct stays until the sync", flush=True)


def serve(
    name: str, port: int, view: str, who: str | None = None, workspace: str = "", ready: Callable[[str], object] = say
) -> None:
    """Serve the App on loopback until Ctrl-C; `ready` gets its address once it answers.

    `view` and `workspace` are what it opens with; `who` clicks in it, and without anybody it is blind: no plugin, no
    lineage. Raises Busy when the port is taken. The App has no log-in, so there is no way to serve it to other
    machines, and its server answers this machine's own pages alone (tasks/review/guard.py): from afar use `ssh -L`.
    """
    _refuse_taken(port)
    os.environ[clicks.WHO], os.environ[database.BLIND] = who or "", "1" if who is None else ""
    fo = database.connect()
    data = fo.load_dataset(name)
    session = launch(fo, data, port, data.load_workspace(workspace) if workspace else None)
    opened = urlencode({"view": view} | ({"workspace": workspace} if workspace else {}))
    ready(f"http://{ADDRESS}:{port}/datasets/{name}?{opened}")
    try:
        wait(_keeping(data) if who is not None else None)
    except KeyboardInterrupt:
        session.close()


def launch(fo: Any, data: Any, port: int, spaces: Any = None) -> Any:
    """Open a session on a data set, on loopback. AssertionError, and no server left, when the guard does not guard."""
    _use_guarded_server()
    session = fo.launch_app(data, remote=True, address=ADDRESS, port=port, spaces=spaces)
    for path, headers in REFUSED:
        if (status := _status(port, path, headers)) != 403:
            session.close()
            raise AssertionError(f"the App's server answers {status} to {path} with {headers}: it was stopped")
    return session


def wait(tend: Callable[[], object] | None = None) -> None:
    """Until Ctrl-C, calling `tend` now and then. UserError within seconds when mongod is gone: the App only shows that
    nothing loads."""
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
                if tend is not None:
                    tend()
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


def _keeping(data: Any) -> Callable[[], None]:
    """What keeps FiftyOne's own tags and labels on disk, whenever they changed."""
    seen: object = None

    def keep() -> None:
        nonlocal seen
        now = inbox.latest(data)
        if now is not None and now != seen:
            inbox.keep(data.info["round"], data)
            seen = now

    return keep


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


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex((ADDRESS, port)) == 0:
            what = f"port {port} is in use, maybe by another review"
            raise Busy("port_taken", what, "close that one, or change review.port in params.yaml")
