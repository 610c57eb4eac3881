"""Run a command that cannot outlive its parent: `python -IS supervisor.py COMMAND …`.

The parent holds the supervisor's stdin. When that closes (the parent ended, even by SIGKILL), or a signal to stop
arrives, the command's whole process group is ended. Only the standard library, so that it starts in milliseconds.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

GRACE = 3.0  # seconds between SIGTERM and SIGKILL
PR_SET_PDEATHSIG = 1
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def command(*argv: str) -> list[str]:
    """The command line that runs `argv` under a supervisor, with this Python."""
    return [sys.executable, "-IS", __file__, *argv]


def supervise(argv: list[str]) -> int:
    """Run `argv` in a session of its own; returns its exit status, 128 + n if signal n ended it."""
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - no thread runs yet
    )
    return watch(child.pid, child.wait)


def watch(leader: int, wait: Callable[[], int]) -> int:
    """Stand over a child that leads a process group of its own; `wait` gives its exit status, -n for signal n."""
    ended = threading.Event()

    def stop() -> None:
        _signal_group(leader, signal.SIGTERM)
        ended.wait(GRACE)
        _signal_group(leader, signal.SIGKILL)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=stop, daemon=True).start()

    def on_end_of_parent() -> None:
        while os.read(0, 1024):
            pass
        stop()

    for number in STOPS:
        signal.signal(number, on_signal)
    threading.Thread(target=on_end_of_parent, daemon=True).start()
    status = wait()
    ended.set()
    _end_group(leader)
    return status if status >= 0 else 128 - status


def die_with_parent() -> None:
    """For the case that the supervisor itself is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_group(group: int) -> None:
    """Kill what is left of the group and wait until it is gone, for a while: nobody may have to bury its dead."""
    until = time.monotonic() + GRACE
    with suppress(ProcessLookupError):
        while time.monotonic() < until:
            os.killpg(group, signal.SIGKILL)
            time.sleep(0.01)


def _signal_group(group: int, number: signal.Signals) -> None:
    """Signal what is left of the group: it may be gone."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1:]))
