"""One stage through DVC: `dvc repro -s STAGE`, its output line by line, and what came of it.

DVC returns 255 for every failure and says the stage's own exit status in words only. No Prefect here.
"""

import asyncio
import os
import re
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from flows.pipeline.forkserver import Forkserver
from tasks.errors import BAD_INPUT, BUSY, DONE, HELD
from tasks.progress import LINES

LONGEST_LINE = 10_000  # characters; Prefect refuses log records of 1 MB
KEPT_LINES = 500
KILLED = 128 + signal.SIGKILL
FORKSERVER = Forkserver()
DVC_HINTS = (  # what DVC says after each stage about git and its own files
    "Generating lock file",
    "Updating lock file",
    "To track the changes with git",
    "\tgit add ",
    "To enable auto staging",
    "\tdvc config core.autostage",
    "Use `dvc push`",
    "Data and pipelines are up to date.",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stage ended: an exit code of C9, why in the stage's own words, and what DVC did instead of running it.

    BUSY says that the same command can succeed now: somebody else was at work, or the stage was killed.
    """

    exit_code: int = DONE
    message: str = ""
    skipped: str = ""  # "Unchanged" or "Restored"


def ending(stage: str, code: int) -> str:
    """How a run is shown that ends with this stage: an alert tells drift and what waits for people from mistakes."""
    return "Failed" if code != HELD else "Drift" if stage.startswith("drift@") else "Held"


async def repro(stage: str, root: Path, log: Callable[[str], None]) -> Outcome:
    """Bring one stage up to date. However this coroutine ends, no process of the stage is left."""
    # --wait-for-lock: without it a finished stage fails when another dvc happens to hold the lock.
    status, lines = await follow(["--wait-for-lock", "repro", "-s", stage], root, log)
    return outcome(stage, status, lines)


async def follow(arguments: Sequence[str], root: Path, log: Callable[[str], None]) -> tuple[int, list[str]]:
    """Run dvc; its exit status and last lines. However this coroutine ends, none of its processes is left."""
    lines: deque[str] = deque(maxlen=KEPT_LINES)
    pipes = FORKSERVER.dvc(arguments, root, environment())
    with pipes.stop as stop:
        async with _reading(pipes.output) as output, _reading(pipes.status) as status:
            try:
                async for line in lines_of(output):
                    lines.append(line)
                    if line and not line.startswith(DVC_HINTS):
                        log(line)
            finally:
                stop.close()
                said = await status.read()
    return int(said or KILLED), list(lines)


def warm_up() -> None:
    """Begin to load DVC beside what else is loaded."""
    FORKSERVER.start(environment())


@asynccontextmanager
async def _reading(pipe: FileIO) -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    try:
        yield reader
    finally:
        transport.close()


def outcome(stage: str, status: int, lines: list[str]) -> Outcome:
    """Read from DVC's exit status and output what happened to a stage."""
    if status == 0:
        words = {"Unchanged": "didn't change, skipping", "Restored": "is cached - skipping run, checking out outputs"}
        skipped = [name for name, text in words.items() if f"Stage '{stage}' {text}" in lines]
        return Outcome(skipped=skipped[0] if skipped else "")
    said = _said_by_dvc(lines)
    ended = re.search(r", exited with (-?\d+)$", said, flags=re.MULTILINE)
    if not ended and status != KILLED:
        return Outcome(BUSY if "it is being blocked by" in said else BAD_INPUT, said)
    code = int(ended[1]) if ended else status
    number = -code if code < 0 else code - 128  # a shell reports a signal as 128 + n
    if number in set(signal.Signals):
        name = signal.Signals(number).name
        why = "; the machine may have run out of memory" if number == signal.SIGKILL else ""
        return Outcome(BUSY, f"killed by {name}{why}; run the same command again, it continues")
    return Outcome(code, _said_by_stage(lines))


def _said_by_stage(lines: list[str]) -> str:
    """The last `error [code]: …` up to its `fix:` line; without one, the end of the output."""
    own = [line for line in lines if not line.startswith("ERROR: ")]
    starts = [i for i, line in enumerate(own) if line.startswith("error [")]
    if not starts:
        return "\n".join(own[-10:])
    ends = [i for i in range(starts[-1], len(own)) if own[i].startswith("  fix: ")]
    return "\n".join(own[starts[-1] : ends[0] + 1] if ends else own[max(starts[-1] - 1, 0) : starts[-1] + 1])


def _said_by_dvc(lines: list[str]) -> str:
    said = [i for i, line in enumerate(lines) if line.startswith("ERROR: ")]
    return "\n".join(lines[said[0] :] if said else lines[-10:])


def environment() -> dict[str, str]:
    """Our Python first in the PATH of `cmd`; output as it comes, with lines of progress; no process of DVC's own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    ours = {"PYTHONUNBUFFERED": "1", LINES: "1", "DVC_NO_ANALYTICS": "1", "DVC_DAEMON": "1"}
    return {**os.environ, "PATH": path, **ours}


async def lines_of(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Lines of any length, cut to LONGEST_LINE; of a progress bar that rewrites its line, the last state."""
    rest = b""
    while chunk := await stream.read(1 << 16):
        *whole, rest = (rest + chunk).split(b"\n")
        rest = rest[-(1 << 20) :]
        for line in whole:
            yield readable(line)
    if rest:
        yield readable(rest)


def readable(line: bytes) -> str:
    """A line of output as it would look in a terminal, cut to LONGEST_LINE."""
    return line.decode(errors="replace").rstrip().rpartition("\r")[2][:LONGEST_LINE]
