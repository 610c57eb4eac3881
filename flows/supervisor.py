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
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread runs yet
    )

    def stop() -> None:
        _signal_group(child.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
        _signal_group(child.pid, signal.SIGKILL)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=stop, daemon=True).start()

    def on_end_of_parent() -> None:
        while os.read(0, 1024):
            pass
        stop()

    for number in STOPS:
        signal.signal(number, on_signal)
    threading.Thread(target=on_end_of_parent, daemon=True).start()
    status = child.wait()
    _signal_group(child.pid, signal.SIGKILL)
    return status if status >= 0 else 128 - status


def _die_with_parent() -> None:
    """For the case that the supervisor itself is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _signal_group(group: int, number: signal.Signals) -> None:
    """Signal what is left of the group: it may be gone."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1:]))
