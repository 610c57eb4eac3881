"""Who may speak to the Prefect server: the token's file, and the guard in front of Prefect's own application.

A page of any other site that a browser has open can send requests to 127.0.0.1, and a name that its owner points there
(DNS rebinding) makes them look like the server's own. Both are told by the headers Host, Origin and Sec-Fetch-Site,
which no script can set. What is not refused for these still needs the token: Prefect checks that one itself.
"""

import base64
import os
import secrets
import stat
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
USER = "understudy"
LOOPBACK = ("127.0.0.1", "localhost")
POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1


def token(home: Path) -> str:
    """`user:secret`, as the server wants it, from a file only its owner can read; made when there is none.

    A file that others could read is replaced: whoever read it is shut out with the server's next start.
    """
    path = token_file(home)
    if path.is_file() and not stat.S_IMODE(path.stat().st_mode) & 0o077:
        return path.read_text(encoding="utf-8").strip()
    if path.exists():
        print(f"warning: others could read {path}; it holds a new token now", flush=True)
        path.unlink()
    new = home / f".token-{os.getpid()}"
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{USER}:{secrets.token_urlsafe(32)}\n")
    try:
        os.link(new, path)  # whole or not at all; of two that start at once, one wins
    except FileExistsError:
        pass
    finally:
        new.unlink()
    return path.read_text(encoding="utf-8").strip()


def token_file(home: Path) -> Path:
    """Where the token lies."""
    return home / "token"


def header(of: str) -> dict[str, str]:
    """What a request carries to be let in."""
    return {"Authorization": f"Basic {base64.b64encode(of.encode()).decode()}"} if of else {}


class Guard:
    """Refuses requests that came under a foreign name or from a page of another site; HTTP and WebSocket alike."""

    def __init__(self, app: App, names: Iterable[str]) -> None:
        self.app, self.names = app, {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        kind = scope["type"]
        why = self._refused(scope) if kind in {"http", "websocket"} else ""
        if not why:
            await self.app(scope, receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": why})  # an HTTP 403
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": f"{why}\n".encode()})

    def _refused(self, scope: Scope) -> str:
        """Why a request is refused; empty when it is not."""
        named: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            named.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts, origins = named.get("host", []), named.get("origin", [])
        if len(hosts) != 1 or _name(hosts[0]) not in self.names:
            return f"this server does not answer to the name {' '.join(hosts) or '(none)'}"
        if any(urlsplit(origin).netloc.lower() != hosts[0].lower() for origin in origins):
            return f"requests from pages of {' '.join(origins)} are refused"
        site, mode = named.get("sec-fetch-site", [""])[0], named.get("sec-fetch-mode", [""])[0]
        if site in {"cross-site", "same-site"} and mode != "navigate":
            return "requests from pages of other sites are refused"
        return ""


def _name(host: str) -> str:
    """A Host header without its port; empty for what is no host."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
