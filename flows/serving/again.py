"""Asks Prefect's application again where its database was locked.

SQLite refuses a transaction at once that wants to write after it read what somebody else has changed since, however
long it may wait for locks. Prefect then answers 503, and its clients come back after two seconds: a training that waits
for its slot, a click in the pages. The refused transaction has changed nothing; the same request is made anew.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from flows.serving.access import App, Receive, Scope, Send

PATIENCE = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds before each further try
LOCKED = 503
LONGEST = 1 << 20  # bytes of a body that is kept for another try


class Again:
    """Passes requests on, and once more where the answer is 503."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with what the last try says."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        read = await _whole(receive)
        for wait in PATIENCE if len(read) == 1 else ():
            if await self._answered(scope, read, receive, send):
                return None
            await asyncio.sleep(wait)
        return await self.app(scope, _replay(read, receive), send)

    async def _answered(self, scope: Scope, read: list[MutableMapping[str, Any]], receive: Receive, send: Send) -> bool:
        """Try it; False where the answer was 503, of which nothing is sent."""
        locked = False

        async def hold(message: MutableMapping[str, Any]) -> None:
            nonlocal locked
            locked = locked or message.get("status") == LOCKED
            if not locked:
                await send(message)

        try:
            await self.app(dict(scope), _replay(read, receive), hold)
        except Exception:  # Starlette answers 503 and then raises what was the matter, for the log
            if not locked:
                raise
        return not locked


async def _whole(receive: Receive) -> list[MutableMapping[str, Any]]:
    """The request's body in one message; in several, the last of which is not read yet, when it is too long to keep."""
    first = await receive()
    read, body = [first], first.get("body", b"")
    while read[-1].get("more_body") and len(body) <= LONGEST:
        read.append(await receive())
        body += read[-1].get("body", b"")
    if read[-1].get("more_body"):
        return read
    return [{**first, "body": body, "more_body": False}] if first["type"] == "http.request" else read


def _replay(read: list[MutableMapping[str, Any]], receive: Receive) -> Receive:
    """What was read, then what still comes."""
    waiting = iter(read)

    async def give() -> MutableMapping[str, Any]:
        return next(waiting, None) or await receive()

    return give
