"""One run at a time works on a project's workspace; the kernel frees the lock when its holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tasks import files
from tasks.errors import Busy

HOME = files.WORK / "run"


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Hold the workspace for the run of this name; Busy says who holds it."""
    HOME.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (HOME / "LOCK").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            what = f"{lock.read().strip() or 'another run'} works on this project; {name} has changed nothing"
            raise Busy("run_busy", what, "wait for it, or cancel it; then start this one again") from None
        lock.truncate(0)
        lock.write(f"the run {name} (process {os.getpid()})")
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)
