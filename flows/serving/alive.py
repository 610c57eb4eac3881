"""Which flow runs of this workspace still have a process. A server does not see SIGKILL: it shows Running for ever.

Whoever works on a run holds a lock on a file of its name until it dies, not only until it has done its work: the last
word to the server comes after that. The kernel frees the lock, however the process ends. A file that nobody holds is a
run without a process; where the server shows it at work, it is told the truth. No Prefect is imported at the top.
"""

import asyncio
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

from tasks import files

HOME = files.WORK / "run"
LOOK = 5.0  # seconds between looks for the dead
DIED = "its process is gone without a word (killed, or the machine stopped): start it again, it continues"
_HELD: dict[Path, TextIO] = {}


def claim(run: str) -> TextIO:
    """Work on the flow run of this id until what is returned is closed, or this process ends.

    A second claim takes over: the worker's, while it starts the run's own process, is followed by that one's.
    """
    HOME.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = HOME / f"{run}.{os.getpid()}"
    lock = made.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    made.replace(_file(run))  # it never stands there unlocked
    return lock


def hold(run: str) -> None:
    """Work on the flow run of this id for the rest of this process."""
    _HELD[_file(run)] = claim(run)


def forget() -> None:
    """The server knows how the runs of this process ended: nobody needs to tell it."""
    for path in list(_HELD):
        path.unlink(missing_ok=True)
        _HELD.pop(path).close()


def dead() -> list[str]:
    """Ids of runs that began here and whose process is gone."""
    return [path.stem for path in sorted(HOME.glob("*.alive")) if _is_free(path)]


async def bury(client: Any) -> list[str]:
    """Tell the server of the dead that it shows at work, and forget all dead; the names of those it was told of."""
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Cancelled, Crashed

    found = []
    for run in dead():
        with suppress(ObjectNotFound):
            known = await client.read_flow_run(UUID(run))
            state = known.state
            if not _is_free(_file(run)):
                continue  # it was suspended, and its answer has come
            if state and (state.is_running() or state.is_pending() or state.is_cancelling()):
                end: Any = Cancelled(message=DIED) if state.is_cancelling() else Crashed(message=DIED)
                await client.set_flow_run_state(known.id, end, force=True)
                found.append(known.name)
        _file(run).unlink(missing_ok=True)
    return found


async def keep_burying() -> None:
    """Look again and again, whatever the server is doing meanwhile."""
    from httpx import HTTPError
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        while True:
            with suppress(HTTPError):
                for name in await bury(client):
                    print(f"the run {name} was shown as running; {DIED}", flush=True)
            await asyncio.sleep(LOOK)


def _file(run: str) -> Path:
    return HOME / f"{run}.alive"


def _is_free(path: Path) -> bool:
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return False
    return True
