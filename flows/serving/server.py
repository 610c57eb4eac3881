"""Where runs are recorded: a Prefect server on this machine, reached on loopback only unless somebody says otherwise.

`understudy ui` and `understudy serve` start one with its pages and write down where; `understudy run` reports to that
one, or to the server that PREFECT_API_URL names, or else to one of its own that ends with it. Each wants the token of
flows.serving.access. No Prefect is imported here.
"""

import atexit
import errno
import ipaddress
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows.pipeline import supervisor
from flows.serving import access
from tasks.errors import Busy, UserError

HOST = "127.0.0.1"
STARTUP = 180.0  # seconds: the first start makes the database, 13 s here and far more on a busy machine
ANSWER = 5.0  # seconds
Server = subprocess.Popen[bytes]


def prepare(root: Path) -> Path:
    """Prefect's settings for this project, before it is imported; returns its home. What the user set stays."""
    home = Path(os.environ.setdefault("PREFECT_HOME", str(root.resolve() / ".prefect")))
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_DATABASE_TIMEOUT", "60")  # seconds SQLite waits for a writer; 10 were too few
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", "3")  # how long a click waits for its run, at most
    os.environ.setdefault("PREFECT_SERVER_TASKS_TAG_CONCURRENCY_SLOT_WAIT_SECONDS", "3")  # between asks for a free slot
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "2")  # of 2, 4, 8, … s each: a dead server must not hold a run
    os.environ.setdefault("PREFECT_SERVER_UI_V2_ENABLED", "false")  # the pages the form of a run was tried in
    os.environ["PREFECT_SERVER_UI_API_URL"] = "/api"  # without it the pages only work on port 4200
    os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), HOST]))
    return home


def find(home: Path) -> str | None:
    """The API of a server that answers: the one PREFECT_API_URL names, else the one that was started here.

    Raises UserError when it refuses us.
    """
    wanted = os.environ.get("PREFECT_API_URL")
    here = address(home)
    if here and (wanted or here) == here:
        _let_in(home)
    if wanted:
        if answers(wanted):
            _refuse_locked(wanted)
            return wanted
        print(f"warning: no Prefect server answers at PREFECT_API_URL={wanted}; this run is recorded here instead")
    if not here or not answers(here):
        return None
    _let_in(home)
    _refuse_locked(here)
    return here


def address(home: Path) -> str | None:
    """Where `understudy ui` or `understudy serve` said it runs."""
    path = _address_file(home)
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def answers(api: str) -> bool:
    """Whether a Prefect server is healthy there."""
    return _status(f"{api.rstrip('/')}/health") == 200


def start(home: Path, port: int = 0, host: str = HOST, names: Sequence[str] = ()) -> tuple[Server, str]:
    """Start a server and wait until it answers; returns its process and API. It ends when this process ends.

    `names` are further ones it may be called by. Raises UserError when the port is taken or the server does not start.
    """
    port = _free_port(host, port)
    here = HOST if ipaddress.ip_address(host).is_unspecified else host
    api = f"http://{here}:{port}/api"
    log = home / "server.log"
    _let_in(home, ours=True)
    called = (*access.LOOPBACK, host, *names)
    with log.open("ab") as stream:
        stream.truncate(0)
        process = subprocess.Popen(
            supervisor.command(sys.executable, "-m", "flows.serving.guarded", host, str(port), *called),
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    atexit.register(stop, process)  # after Prefect's threads have sent their last words
    deadline = time.monotonic() + STARTUP
    while not answers(api):
        if process.poll() is not None or time.monotonic() > deadline:
            stop(process)
            raise UserError(
                "no_server", f"Prefect's server did not start: {tail(log)}", f"read {log}; `make test` checks the pins"
            )
        time.sleep(0.2)
    return process, api


def stop(process: Server) -> None:
    """End a server and wait for it."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


@contextmanager
def announced(home: Path, api: str) -> Iterator[None]:
    """Write down where the server runs, as long as it does."""
    _address_file(home).write_text(api + "\n", encoding="utf-8")
    try:
        yield
    finally:
        _address_file(home).unlink(missing_ok=True)


def refuse_running(home: Path) -> None:
    """Busy when the pages are open already."""
    running = address(home)
    if running and answers(running):
        raise Busy("ui_running", f"the pages are already at {pages_of(running)}", "open that address")


def welcome(home: Path, api: str) -> str:
    """Where the pages are and how to log in."""
    return f"Prefect: {pages_of(api)}\nIt asks for a password: the line in {_shown(access.token_file(home))}"


def pages_of(api: str) -> str:
    """The address for a browser."""
    return api.removesuffix("/api")


def _let_in(home: Path, ours: bool = False) -> None:
    """Let this process and what it starts carry the token of this project's server; a server of ours ask for it."""
    if ours:
        chosen = os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or access.token(home)
        os.environ["PREFECT_SERVER_API_AUTH_STRING"] = os.environ["PREFECT_API_AUTH_STRING"] = chosen
    elif access.token_file(home).is_file():
        os.environ.setdefault("PREFECT_API_AUTH_STRING", access.token(home))


def _refuse_locked(api: str) -> None:
    """UserError when the server does not accept what we carry."""
    carried = os.environ.get("PREFECT_API_AUTH_STRING", "")
    if _status(f"{api.rstrip('/')}/version", access.header(carried)) == 401:
        what = f"{pages_of(api)} wants another token" if carried else f"{pages_of(api)} wants a token"
        fix = "export PREFECT_API_AUTH_STRING with the line in .prefect/token of the project that started it"
        raise UserError("no_token", what, fix)


def _status(url: str, headers: dict[str, str] | None = None) -> int:
    """The status of a GET request, 0 when nobody answers."""
    try:
        request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - the user's own address
        with urllib.request.urlopen(request, timeout=ANSWER) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, ValueError):
        return 0


def _address_file(home: Path) -> Path:
    return home / "address"


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _free_port(host: str, port: int) -> int:
    """The port itself, or any free one for 0."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise UserError(
                    "no_address", f"cannot listen on {host}:{port}: {error}", "`hostname -I` lists them"
                ) from None
            what = f"port {port} of this machine is in use"
            raise UserError("port_taken", what, f"add --port {port + 100}") from None
        return int(probe.getsockname()[1])


def tail(log: Path) -> str:
    """The last words of a log."""
    return " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:]) or "it said nothing"
