"""One process that has DVC loaded and forks one for each command, so that a stage saves the 0.6 s of starting DVC.

Who wants DVC sends its arguments over a socket, and with them three pipes: one whose end stops the command (as with
supervisor.py), one for its output, one for its exit status. A command has two processes of its own, a guard and DVC.
They hang on the pipes, not on this server: when it dies nothing is lost but the next start, and no command outlives the
one that asked for it, be it by SIGKILL. Forks are safe because only one thread ever runs here.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from io import FileIO
from pathlib import Path
from traceback import print_exc
from types import FrameType

from flows.pipeline import mended, supervisor

HOME = Path(__file__).resolve().parent.parent.parent  # where `flows` is found
CHUNK = 1 << 16  # bytes
LATE = (  # what `dvc repro` imports only when it needs it; a name that DVC has given up costs time and no more
    "dvc.dvcfile",
    "dvc.repo.reproduce",
    "dvc.repo.scm_context",
    "dvc.repo.status",
    "dvc.stage.cache",
    "dvc.stage.run",
    "dvc.utils.strictyaml",
    "dvc_http",
    "scmrepo.git",
)


@dataclass(frozen=True, slots=True)
class Pipes:
    """Ours of a command: close `stop` to end it; read its output, then its exit status in digits (none: killed)."""

    stop: FileIO
    output: FileIO
    status: FileIO


class Forkserver:
    """A server of this process's own; it ends with this process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self, env: Mapping[str, str]) -> socket.socket:
        """Its socket; where none runs, one is started, which is ready when it has loaded DVC."""
        if self._socket and self._process and self._process.poll() is None:
            return self._socket
        self.stop()
        self._socket, theirs = socket.socketpair()
        server = [sys.executable, "-m", "flows.pipeline.forkserver"]
        self._process = subprocess.Popen(
            server,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            cwd=HOME,
            env=dict(env),
            start_new_session=True,
        )
        theirs.close()
        atexit.register(self.stop)
        return self._socket

    def stop(self) -> None:
        """End it; a command still at work goes on until its own pipe is closed."""
        atexit.unregister(self.stop)
        if self._process and self._socket:
            self._socket.close()
            self._process.wait()

    def dvc(self, arguments: Sequence[str], folder: Path, env: Mapping[str, str]) -> Pipes:
        """Let DVC run in a folder with these variables."""
        asked = {"arguments": list(arguments), "folder": str(folder.resolve()), "env": dict(env)}
        request = json.dumps(asked).encode() + b"\n"
        (until, stop), (output, said), (status, told) = os.pipe(), os.pipe(), os.pipe()
        try:
            try:
                self._send(self.start(env), request, [until, said, told])
            except OSError:  # it died since we looked
                self._send(self.start(env), request, [until, said, told])
        finally:
            for theirs in (until, said, told):
                os.close(theirs)
        return Pipes(FileIO(stop, "w"), FileIO(output), FileIO(status))

    @staticmethod
    def _send(to: socket.socket, request: bytes, pipes: list[int]) -> None:
        sent = socket.send_fds(to, [request], pipes)
        to.sendall(request[sent:])


def serve(asks: socket.socket) -> None:
    """Fork for each request until nobody can ask any more. In a forked process this ends by SystemExit."""
    signal.signal(signal.SIGCHLD, _bury)
    while True:
        request, pipes, _, _ = socket.recv_fds(asks, CHUNK, 3)
        while request and not request.endswith(b"\n"):
            request += asks.recv(CHUNK)
        if not request:
            return
        if os.fork() == 0:
            asks.close()
            _guard(json.loads(request), *pipes)
        for pipe in pipes:
            os.close(pipe)


def _bury(_number: int, _frame: FrameType | None) -> None:
    """Guards say themselves what came of it."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _guard(asked: dict[str, object], until: int, said: int, told: int) -> None:
    """Fork DVC and watch it; write its exit status and end. In DVC's process: end as DVC ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for source, target in ((until, 0), (said, 1), (said, 2)):
        os.dup2(source, target)
    os.close(until)
    os.close(said)
    os.chdir(str(asked["folder"]))
    child = os.fork()
    if child == 0:
        os.close(told)
        sys.exit(_dvc(asked))
    with suppress(ProcessLookupError, PermissionError):
        os.setpgid(child, child)  # both do it: whoever comes first, the group is there before anybody ends it
    try:
        status = supervisor.watch(child, lambda: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        os.write(told, str(status).encode())
    except BaseException:
        print_exc()
    finally:
        os._exit(0)  # this is no server


def _dvc(asked: dict[str, object]) -> int:
    """What `dvc ARGUMENTS` does, in a process that nobody but its guard knows."""
    os.setpgid(0, 0)
    supervisor.die_with_parent()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    arguments, env = asked["arguments"], asked["env"]
    assert isinstance(arguments, list)
    assert isinstance(env, dict)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["dvc", *arguments]  # DVC notes them in its locks
    from dvc.cli import main

    mended.mend()
    return int(main(arguments))


def main() -> None:
    """Load DVC, then serve whoever holds the other end of stdin."""
    from dvc.cli.parser import get_main_parser

    get_main_parser()  # imports all commands
    for name in LATE:
        with suppress(ImportError):
            import_module(name)
    with socket.socket(fileno=os.dup(0)) as asks:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        serve(asks)


if __name__ == "__main__":
    main()
