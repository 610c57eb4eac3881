"""The App's server with a guard before it: `python -m tasks.review.app_server --port N --address A FOLDER...`.

FiftyOne's own server (fiftyone/server/main.py) in a process of its own, started by tasks/review/app.py, whose end is
the end of this one's input.
"""

import argparse
import os
import signal
import sys
import threading
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.review import database, guard

GRACE = 3.0  # seconds


def confine(app: Any, folders: Sequence[Path]) -> None:
    """Let the route /media of FiftyOne's application read pictures in these folders and nothing else.

    The handler itself is replaced, so that no spelling of the address leads past it. AssertionError when FiftyOne does
    not have exactly the one handler that is known: then it must not be started.
    """
    from fiftyone.server.routes.media import Media
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    class Pictures(Media):  # type: ignore[misc]
        async def get(self, request: Request) -> Response:
            """A picture, or 403: whether another file exists is nobody's business."""
            asked = request.query_params.getlist("filepath")
            found = guard.picture(asked[0], folders) if len(asked) == 1 else None
            if found is None:
                return PlainTextResponse("understudy shows the pictures of its own reviews alone\n", 403)
            scope = dict(request.scope) | {"query_string": urllib.parse.urlencode({"filepath": found}).encode()}
            answer: Response = await super().get(Request(scope))  # the file that was looked at, its links followed
            return answer

    routes = [place for place, route in enumerate(app.routes) if getattr(route, "endpoint", None) is Media]
    assert len(routes) == 1, "FiftyOne's server has not the one /media it had in 1.22.1"
    app.router.routes[routes[0]] = Route(app.routes[routes[0]].path, Pictures)


def brief(app: Any) -> Any:
    """The application, whose process ends GRACE seconds after it was told to.

    It would wait for its threads, which ask a database that may be gone already, half a minute and more. Nothing is
    lost: what was clicked is on disk before it is acknowledged.
    """

    async def called(scope: Any, receive: Any, send: Any) -> None:
        async def heard() -> Any:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                end = threading.Timer(GRACE, os._exit, [0])
                end.daemon = True
                end.start()
            return message

        await app(scope, heard if scope["type"] == "lifespan" else receive, send)

    return called


def end_with_input() -> None:
    """Tell this process to end when whoever started it is gone."""

    def read() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=read, daemon=True).start()


def main() -> None:
    """Serve until the process is ended, or its input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("folders", nargs="+", type=Path)
    said = parser.parse_args()
    end_with_input()
    from fiftyone.server import main as server  # must be the first of FiftyOne: it says that this is the server

    database.wait_for_journal()
    confine(server.app, said.folders)
    server.app = guard.Guard(brief(server.app))
    server.start_server(port=said.port, address=said.address)


if __name__ == "__main__":
    main()
