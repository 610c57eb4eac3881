"""Starting the App: FiftyOne's session, with its server behind our guard (tasks/review/app_server.py)."""

import http.client
import os
import sys
from pathlib import Path
from typing import Any

import tasks
from tasks import files

ADDRESS = "127.0.0.1"
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

    service.ServerService = Guarded


def _status(port: int, path: str, headers: dict[str, str]) -> int:
    asked = http.client.HTTPConnection(ADDRESS, port, timeout=60)
    try:
        asked.request("GET", path, headers=headers)
        return asked.getresponse().status
    finally:
        asked.close()
