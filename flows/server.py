"""Where runs are recorded: a Prefect server on this machine, reached on loopback only.

`understudy ui` starts one with its pages and writes down where; `understudy run` reports to that one, or to the server
that PREFECT_API_URL names, or else to one of its own that ends with it. No Prefect is imported here.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from flows import supervisor
from tasks.errors import Busy, UserError

HOST = "127.0.0.1"
STARTUP = 180.0  # seconds: the first start makes the database, 13 s here and far more on a busy machine
ANSWER = 5.0  # seconds


def prepare(root: Path) -> Path:
    """Prefect's settings for this project, before it is imported; returns its home. What the user set stays."""
    home = Path(os.environ.setdefault("PREFECT_HOME", str(root.resolve() / ".prefect")))
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "2")  # of 2, 4, 8, … s each: a dead server must not hold a run
    os.environ["PREFECT_SERVER_UI_API_URL"] = "/api"  # without it the pages only work on port 4200
    os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), HOST]))
    return home


def find(home: Path) -> str | None:
    """The API of a server that answers: the one PREFECT_API_URL names, else the one `understudy ui` started."""
    wanted = os.environ.get("PREFECT_API_URL")
    if wanted:
        if answers(wanted):
            return wanted
        print(f"warning: no Prefect server answers at PREFECT_API_URL={wanted}; this run is recorded here instead")
    here = address(home)
    return here if here and answers(here) else None


def address(home: Path) -> str | None:
    """Where `understudy ui` said it runs."""
    path = _address_file(home)
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def answers(api: str) -> bool:
    """Whether a Prefect server is healthy there."""
    try:
        with urllib.request.urlopen(f"{api.rstrip('/')}/health", timeout=ANSWER) as response:  # noqa: S310
            return bool(response.status == 200)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def start(home: Path, port: int = 0) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server and wait until it answers; returns its process and API. It ends when this process ends.

    Raises UserError when the port is taken or the server does not start.
    """
    port = _free_port(port)
    api = f"http://{HOST}:{port}/api"
    log = home / "server.log"
    prefect = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            supervisor.command(*prefect),
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
                "no_server", f"Prefect's server did not start: {_tail(log)}", f"read {log}; `make test` checks the pins"
            )
        time.sleep(0.2)
    return process, api


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and wait for it."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def serve(home: Path, port: int) -> None:
    """Run the server with its pages until somebody stops it."""
    running = address(home)
    if running and answers(running):
        raise Busy("ui_running", f"the pages are already at {pages_of(running)}", "open that address")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        process, api = start(home, port)
        _address_file(home).write_text(api + "\n", encoding="utf-8")
        print(f"Prefect: {pages_of(api)}\n`understudy run` here reports to it. Ctrl-C stops it.", flush=True)
        status = process.wait()
    except KeyboardInterrupt:
        return
    finally:
        _address_file(home).unlink(missing_ok=True)
    raise UserError("server_ended", f"the server ended with {status}", f"read {home / 'server.log'}")


def pages_of(api: str) -> str:
    """The address for a browser."""
    return api.removesuffix("/api")


def _address_file(home: Path) -> Path:
    return home / "address"


def _free_port(port: int) -> int:
    """The port itself, or any free one for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise UserError(
                "port_taken", f"port {port} of this machine is in use", f"understudy ui --port {port + 100}"
            ) from None
        return int(probe.getsockname()[1])


def _tail(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:]) or "it said nothing"
