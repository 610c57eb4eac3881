"""The project's report on the Prefect server's own pages, for a run to link to: /reports/current, /reports/EXPERIMENT.

A browser asks for the token (HTTP Basic: its two halves are name and password). The report is shown in a sandbox: it
may not speak to the server it came from.
"""

import hmac
import os
import re
from collections.abc import Iterable
from pathlib import Path

from flows.serving import access
from flows.serving.access import App, Receive, Scope, Send

PREFIX = "/reports/"
CURRENT = "current"
EXPERIMENTS = Path(".work/experiments")
HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"),
)
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


def file_of(name: str, root: Path = Path()) -> Path | None:
    """The report of the workspace, or of an experiment by its name; None where there is none."""
    if not NAME.fullmatch(name):
        return None
    path = (root if name == CURRENT else root / EXPERIMENTS / name) / "data/report/report.html"
    return path if path.is_file() else None


class Reports:
    """Answers what begins with /reports/ and passes on the rest."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.key = access.header(os.environ.get("PREFECT_SERVER_API_AUTH_STRING", "")).get("Authorization", "")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a report to who has the token."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self.app(scope, receive, send)
            return
        given = b"".join(value for name, value in scope["headers"] if name == b"authorization")
        if not hmac.compare_digest(given, self.key.encode()):
            asks = [(b"www-authenticate", b'Basic realm="understudy", charset="UTF-8"')]
            await _answer(send, 401, asks, b"the token is needed\n")
        elif scope["method"] == "GET" and (path := file_of(scope["path"].removeprefix(PREFIX))):
            await _answer(send, 200, HEADERS, path.read_bytes())
        else:
            await _answer(send, 404, [], b"there is no such report\n")


async def _answer(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers]})
    await send({"type": "http.response.body", "body": body})
