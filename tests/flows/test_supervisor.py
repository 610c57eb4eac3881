"""Nothing that runs under the supervisor outlives it or its parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.pipeline import supervisor
from tests.flows.conftest import eventually

FAMILY = """
import os, subprocess, sys, time
open(sys.argv[1] + "/child", "w").write(str(os.getpid()))
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1] + "/ready", "w").close()
time.sleep(600)
"""


def _start(*argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(supervisor.command(*argv), stdin=subprocess.PIPE, start_new_session=True)


def _family(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A supervised silent process with a silent child; returns the supervisor and their process group."""
    process = _start(sys.executable, "-c", FAMILY, str(folder))
    eventually((folder / "ready").exists)
    return process, int((folder / "child").read_text())


def _is_gone(group: int) -> bool:
    """Nobody is left in the group; the dead that nobody has buried yet do not count."""
    left = subprocess.run(["ps", "-o", "stat=", "-g", str(group)], capture_output=True, text=True, check=False)
    return not [state for state in left.stdout.split() if not state.startswith("Z")]


@pytest.mark.parametrize("code", [0, 3, 75])
def test_exit_status_is_passed_through(code: int) -> None:
    """The supervisor ends as its command ended."""
    with _start(sys.executable, "-c", f"raise SystemExit({code})") as process:
        assert process.wait() == code


def test_death_by_signal_is_told_like_a_shell_does() -> None:
    """SIGKILL gives 137."""
    with _start(sys.executable, "-c", "import os; os.kill(os.getpid(), 9)") as process:
        assert process.wait() == 137


def test_end_of_stdin_ends_the_whole_family(tmp_path: Path) -> None:
    """A parent that dies takes a silent command and its silent child with it."""
    process, group = _family(tmp_path)
    with process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=20) == 128 + signal.SIGTERM
    assert _is_gone(group)


def test_a_deaf_command_is_killed(tmp_path: Path) -> None:
    """Ignoring SIGTERM does not help."""
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    argv = supervisor.command(sys.executable, "-c", deaf)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.stdin.close()
        assert process.wait(timeout=20) == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_the_command_too(number: signal.Signals, tmp_path: Path) -> None:
    """Whatever ends the supervisor ends the command, SIGKILL included."""
    process, group = _family(tmp_path)
    with process:
        os.kill(process.pid, number)
        process.wait(timeout=20)
        child = group
        eventually(lambda: not Path(f"/proc/{child}").exists(), 20)
        os.killpg(group, signal.SIGKILL) if not _is_gone(group) else None
    assert not Path(f"/proc/{child}").exists()
