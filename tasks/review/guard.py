"""What the App's server may answer: this machine's own browser, and of its files only pictures of ours.

The App has no log-in and its route /media reads any file its user may read (fiftyone 1.22.1). Listening on loopback is
not enough: a page from anywhere, open in a browser of this machine, can send requests there, and by a host name that
it makes point to 127.0.0.1 it can read the answers too ("DNS rebinding"). Pure ASGI; no FiftyOne here.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HERE = {"127.0.0.1", "localhost", "::1"}
OURS = {"same-origin", "none"}  # of Sec-Fetch-Site; none = typed, or a bookmark
OFFLINE = b"style-src 'self' 'unsafe-inline' data: blob:; font-src 'self' data: blob:"
PICTURES = {".png", ".jpg", ".webp", ".bmp"}  # the key of a blind audit lies beside its pictures


class Guard:
    """An ASGI application that passes on what `objection` lets through, and answers 403 to all else.

    Every answer forbids the page to take style sheets and fonts from other servers: FiftyOne's asks Google's (1.22.1).
    A rule for all it may ask for stopped Annotate from saving.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        why = "" if scope["type"] == "lifespan" else objection(scope["headers"])
        if not why:
            await self._app(scope, receive, _offline(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": why})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": f"understudy refuses this: {why}\n".encode()})


def _offline(send: Send) -> Send:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"content-security-policy", OFFLINE)]
        await send(message)

    return sent


def objection(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Why a request with these headers is none of this machine's own pages; empty where it may be one.

    The port of Host does not matter, for through `ssh -L` it is another one; Origin, where there is one, must be the
    very place the request goes to, port and all: other servers of this machine are foreign too. A link that leads here
    from elsewhere is let through, since it shows a page and tells the other one nothing.
    """
    said: dict[str, list[str]] = {}
    for name, value in headers:
        said.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
    hosts = said.get("host", [])
    if len(hosts) != 1 or _host(f"//{hosts[0]}") not in HERE:
        return "Host is not this machine's loopback"
    if any(origin != f"http://{hosts[0]}" for origin in said.get("origin", [])):
        return "Origin is another page"
    follows_link = said.get("sec-fetch-mode") == ["navigate"] and said.get("sec-fetch-dest") == ["document"]
    if not follows_link and not set(said.get("sec-fetch-site", [])) <= OURS:
        return "Sec-Fetch-Site is another page"
    return ""


def picture(path: str, folders: Sequence[Path]) -> Path | None:
    """The picture at an absolute path, links followed; None unless that is an image file inside one of the folders."""
    try:
        found = Path(path).resolve(strict=True)
        inside = any(found.is_relative_to(folder.resolve()) for folder in folders)
        is_picture = Path(path).is_absolute() and found.suffix in PICTURES and found.is_file()
    except (OSError, RuntimeError, ValueError):  # not there, links in a circle, a NUL in it
        return None
    return found if inside and is_picture else None


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
