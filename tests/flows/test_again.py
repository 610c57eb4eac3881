"""A request whose database was locked is made once more before anybody hears of it."""

import asyncio
from typing import Any

import pytest

from flows.serving import again

Messages = list[dict[str, Any]]


def _ask(app: Any, body: Messages) -> Messages:
    """What is sent for a request whose body comes in these messages."""
    sent: Messages = []
    coming = iter(body)

    async def receive() -> Any:
        return next(coming)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(again.Again(app)({"type": "http", "path": "/api/x"}, receive, send))
    return sent


class _Locked:
    """An application whose database is locked some times, as Starlette says it: an answer, then the exception."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.heard: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.heard.append(body)
        scope["path"] = "used"  # as frameworks do
        locked = len(self.heard) <= self.times
        await send({"type": "http.response.start", "status": 503 if locked else 201})
        await send({"type": "http.response.body", "body": b"no" if locked else b"yes"})
        if locked:
            raise OSError("database is locked")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "PATIENCE", (0.0, 0.0, 0.0))


def _part(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_the_same_request_is_made_until_it_is_answered() -> None:
    """With its whole body each time, though it came in pieces; only the last answer is sent."""
    app = _Locked(2)
    sent = _ask(app, [_part(b"a", more=True), _part(b"b")])
    assert [message.get("status") or message["body"] for message in sent] == [201, b"yes"]
    assert app.heard == [b"ab"] * 3


def test_who_stays_locked_says_so() -> None:
    """After the last try the answer is 503, and the exception reaches the log."""
    with pytest.raises(OSError, match="locked"):
        _ask(_Locked(9), [_part(b"a")])


def test_a_body_too_long_to_keep_goes_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is lost."""
    monkeypatch.setattr(again, "LONGEST", 2)
    app = _Locked(1)
    with pytest.raises(OSError, match="locked"):
        _ask(app, [_part(b"ab", more=True), _part(b"cd", more=True), _part(b"e")])
    assert app.heard == [b"abcde"]


def test_a_mistake_of_the_server_is_passed_on() -> None:
    """It is made once."""
    calls = []

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["path"])
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        _ask(broken, [_part(b"")])
    assert calls == ["/api/x"]
