"""Who died without a word is found, and nobody else."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows import alive

WORK = """
import sys, time
from flows.alive import alive
with alive(sys.argv[1]):
    print("at work", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("by", [signal.SIGKILL, None])
def test_only_a_killed_run_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: signal.Signals | None) -> None:
    """At work: not dead. Ended in peace: forgotten. Killed: dead, until somebody buries it."""
    monkeypatch.chdir(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, "some-run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "at work\n"
        assert alive.dead() == []
        if by:
            process.send_signal(by)
        else:
            process.stdin.write("\n")
            process.stdin.flush()
        process.wait(timeout=30)
    assert alive.dead() == (["some-run"] if by else [])
    assert len(list(alive.HOME.iterdir())) == bool(by)
