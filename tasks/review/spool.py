"""Clicks made in the App, on disk before they are acknowledged, until a sync has them in the ledger.

data/decisions/pending/rK.jsonl: one line an operation, so that a whole selection is there or is not, each written once
and flushed to the disk. It is no view that may be deleted: clicks stand nowhere else. A sync writes the ledger first
and then what it refused, which waits on. FiftyOne's database is not needed to read any of it.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from tasks import files
from tasks.decisions import Decision
from tasks.errors import UserError

KEPT = 50  # operations before the last sync that can still be taken back


@dataclass(frozen=True, slots=True)
class Click:
    """What somebody said about one image, and what stood there before."""

    said: Decision
    label: str  # in `review` before; empty where there was none
    words: str  # in `decision` before; empty where nobody had said anything


@dataclass(frozen=True, slots=True)
class Operation:
    """What one click or key did to a whole selection."""

    name: str
    clicks: tuple[Click, ...]
    takes_back: str  # the name of the operation before a sync that this one reverts; empty for all others
    synced: bool


def path(round_: str) -> Path:
    """Where the clicks of a round wait."""
    return files.decisions(round_).parent / "pending" / f"{round_}.jsonl"


def add(round_: str, clicks: Sequence[Click]) -> str:
    """Write an operation and return its name; it is on the disk then."""
    operation = Operation(secrets.token_hex(4), tuple(clicks), "", synced=False)
    with _alone(round_) as home:
        _write(home, asdict(operation))
    return operation.name


def take_back(round_: str, who: str, reverse: Callable[[Operation], Sequence[Click]]) -> Operation | None:
    """Take a person's last operation back and return it; None where there is none.

    One that no sync has seen never reaches the ledger; of one that the ledger has, `reverse` says the opposite.
    """
    with _alone(round_) as home:
        found = _last(_read(home), who)
        if found is not None and found.synced:
            _write(home, asdict(Operation(secrets.token_hex(4), tuple(reverse(found)), found.name, synced=False)))
        elif found is not None:
            _write(home, {"dropped": found.name})
    return found


def hand_over(round_: str, write: Callable[[list[Click]], Sequence[Click]]) -> None:
    """Let `write` bring what waits into the ledger; what it returns waits on.

    A click made or taken back meanwhile waits until that is done: it is in what was handed over, or in the next one.
    Older operations than the last ones are forgotten.
    """
    with _alone(round_) as home:
        found = [*_read(home)]
        left = write(_waiting(found))
        kept = [replace(operation, synced=True) for operation in found[-KEPT:]]
        for who in dict.fromkeys(click.said.who for click in left):
            mine = tuple(click for click in left if click.said.who == who)
            kept.append(Operation(secrets.token_hex(4), mine, "", synced=False))
        files.replace_file(home, "".join(json.dumps(asdict(operation)) + "\n" for operation in kept))


def pending(round_: str) -> list[Click]:
    """What no sync has seen: the last click of each person on each image, in the order they were made."""
    return _waiting(_read(path(round_)))


def _waiting(operations: Iterable[Operation]) -> list[Click]:
    last: dict[tuple[str, str], Click] = {}
    for operation in operations:
        for click in () if operation.synced else operation.clicks:
            last.pop((click.said.image_id, click.said.who), None)
            last[click.said.image_id, click.said.who] = click
    return list(last.values())


def _last(operations: Iterable[Operation], who: str) -> Operation | None:
    """The last operation of a person that can be taken back."""
    mine = [o for o in operations if o.clicks and o.clicks[0].said.who == who]
    gone = {o.takes_back for o in mine}
    return next((o for o in reversed(mine) if not o.takes_back and o.name not in gone), None)


def _read(home: Path) -> Iterator[Operation]:
    """The lines that were acknowledged; a last one without an end was cut off by a crash and never was."""
    text = home.read_bytes() if home.exists() else b""
    found: dict[str, Operation] = {}
    for number, line in enumerate(text[: text.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            row = json.loads(line)
            if "dropped" in row:
                found.pop(row["dropped"], None)
                continue
            clicks = tuple(Click(**(click | {"said": Decision(**click["said"])})) for click in row["clicks"])
            found[row["name"]] = Operation(**(row | {"clicks": clicks}))
        except (ValueError, KeyError, TypeError) as error:
            fix = f"these are clicks that are in no ledger yet: mend the line, or move it elsewhere; see docs of {home}"
            raise UserError("bad_clicks", f"{home}, line {number} is none of ours: {error!r}", fix) from None
    yield from found.values()


def _write(home: Path, row: dict[str, Any]) -> None:
    """Add a line and wait for the disk."""
    if not home.exists():
        files.replace_file(home, "")  # its name lasts too
    with home.open("ab+") as stream:
        _cut_off_torn_end(stream)
        stream.write(json.dumps(row).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def _cut_off_torn_end(stream: BinaryIO) -> None:
    """What a crash left of a line would make the next one unreadable too."""
    size = stream.seek(0, os.SEEK_END)
    if size and stream.seek(size - 1) >= 0 and stream.read(1) != b"\n":
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)


@contextmanager
def _alone(round_: str) -> Iterator[Path]:
    """One writer at a time, in whichever process: the App's server, a sync."""
    home = path(round_)
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield home
