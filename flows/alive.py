"""Which flow runs of this workspace still have a process. A server does not see SIGKILL: it shows Running for ever.

Each run holds a lock on a file of its name as long as it works; the kernel frees it, however the process ends. A file
that nobody holds is a run that died without a word, and the server is told so. No Prefect is imported at the top.
"""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from tasks import files

HOME = files.WORK / "run"
LOOK = 5.0  # seconds between looks for the dead
DIED = "its process is gone without a word (killed, or the machine stopped): start it again, it continues"


@contextmanager
def alive(run: str) -> Iterator[None]:
    """This process works on the flow run of this id until the block ends."""
    HOME.mkdir(mode=0o700, parents=True, exist_ok=True)
    path, made = _file(run), HOME / f"{run}.{os.getpid()}"
    with made.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.replace(path)  # it never stands there unlocked
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def dead() -> list[str]:
    """Ids of runs that began here and whose process is gone."""
    return [path.stem for path in sorted(HOME.glob("*.alive")) if _is_free(path)]


async def bury(client: Any) -> list[str]:
    """Tell the server of the dead, and forget them; the names of the runs whose state was wrong."""
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Cancelled, Crashed

    found = []
    for run in dead():
        with suppress(ObjectNotFound):
            known = await client.read_flow_run(UUID(run))
            state = known.state
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
