"""Starting the App: FiftyOne's server behind our guard (tasks/review/app_server.py), while a review is open."""

import atexit
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any
from urllib.parse import urlencode

import tasks
from tasks import files
from tasks.errors import Busy, UserError
from tasks.review import clicks, database, inbox

ADDRESS = "127.0.0.1"
LOOK = 3.0  # seconds between looks for mongod
PATIENCE = 10_000  # milliseconds for its answer: a busy one is not gone
START = 300  # seconds for the App's server to answer: a busy machine needs 60 for its imports alone
LOG = database.HOME / "app.log"
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
    data = database.connect().load_dataset(name)
    opened = urlencode({"view": view} | ({"workspace": workspace} if workspace else {}))
    with server(port), suppress(KeyboardInterrupt):
        ready(f"http://{ADDRESS}:{port}/datasets/{name}?{opened}")
        wait(_keeping(data) if who is not None else None)


@contextmanager
def server(port: int) -> Iterator[None]:
    """The App's server on loopback while the block runs, or until this process dies.

    It is no session of FiftyOne's: that one tells every open page what it believes is shown, once more whenever it
    connects, so a page loses its view and the open picture where a busy machine lets it connect late (1.22.1). Pages
    ask the server itself, by their address. UserError when it does not start; AssertionError, and no server left,
    when the guard does not guard.
    """
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("w") as log, subprocess.Popen(_command(port), stdin=PIPE, stdout=log, stderr=log, env=_env()) as run:
        try:
            _await(run, port)
            for path, headers in REFUSED:
                if (status := _status(port, path, headers)) != 403:
                    raise AssertionError(f"the App's server answers {status} to {path} with {headers}: it was stopped")
            yield
        finally:
            run.communicate()  # the end of its input is the end of it


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


def _command(port: int) -> list[str]:
    """The process to start."""
    folders = [str(folder.absolute()) for folder in FOLDERS]
    return [sys.executable, "-P", "-m", "tasks.review.app_server", "--port", str(port), "--address", ADDRESS, *folders]


def _env() -> dict[str, str]:
    """With this very code, wherever it is started."""
    path = os.pathsep.join([str(Path(tasks.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def _await(run: subprocess.Popen[bytes], port: int) -> None:
    """Until the server answers."""
    until = time.monotonic() + START
    while run.poll() is None and time.monotonic() < until:
        with suppress(OSError, http.client.HTTPException):
            if _status(port, "/fiftyone", {}) == 200:
                return
        time.sleep(0.1)
    ended = "does not answer" if run.poll() is None else f"ended with code {run.returncode}"
    raise UserError("no_app", f"the App's server {ended}", f"read {LOG}: these are its own words")


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
