"""`understudy ui` and `understudy serve`: what runs as long as somebody wants the pages, and ends with them.

Every process stands under a supervisor, which ends it when this one ends, be it by SIGKILL. No Prefect here.
"""

import ipaddress
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from flows.pipeline import supervisor
from flows.serving import database, server
from tasks.errors import UserError
from tasks.params import load

LOOK = 0.5  # seconds between looks at the processes
MOST_DEATHS = 3  # within CALM seconds: then it is no accident
CALM = 60.0
WORKER_READY = "started!"  # flows.serving.worker prints it
READABLE = """\
warning: everyone who reaches {address} and knows the token can read there
  - settings, class names, paths, logs and results of every run, and the report with its pictures
  - and can start runs, that is: use this machine under your name
  token and pages go over the network as plain text: put a proxy with TLS before it"""


@dataclass(frozen=True, slots=True)
class Where:
    """Where the pages are: port, address to listen on, and by which names others reach it (`exposed`)."""

    port: int
    host: str = server.HOST
    exposed: tuple[str, ...] = ()


@dataclass(slots=True)
class Kept:
    """A process that is started again when it dies."""

    name: str
    log: Path
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes]
    deaths: list[float] = field(default_factory=list)

    def look(self) -> None:
        """Start it again; UserError when it keeps dying."""
        if self.process.poll() is None:
            return
        now = time.monotonic()
        self.deaths = [*(at for at in self.deaths if now - at < CALM), now]
        if len(self.deaths) >= MOST_DEATHS:
            what = f"the {self.name} ended {len(self.deaths)} times within {CALM:.0f} s"
            raise UserError("keeps_dying", what, f"read {self.log}")
        print(f"warning: the {self.name} ended with {self.process.returncode}; it starts again", flush=True)
        self.process = self.start()


def ui(home: Path, where: Where) -> None:
    """The server with its pages until somebody stops it."""
    _run(home, where, with_worker=False)


def serve(home: Path, where: Where, database_url: str | None = None) -> None:
    """Server, deployments with their schedules and a worker for this project, until somebody stops them."""
    load()  # the forms are made from it
    if database_url:
        os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database.checked(database_url)
    _run(home, where, with_worker=True)


def _run(home: Path, where: Where, with_worker: bool) -> None:
    _refuse_open(where)
    server.refuse_running(home)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # of nohup: it shall outlive the terminal
            signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            kept = [_server(home, where, stack)]
            if with_worker:
                kept.append(_worker(home, stack))
                print("Deployments and schedules are there; runs started in the pages work here.", flush=True)
            print("`understudy run` here reports to it. Ctrl-C stops it.", flush=True)
            while True:
                time.sleep(LOOK)
                for one in kept:
                    one.look()
        except KeyboardInterrupt:
            return


def _server(home: Path, where: Where, stack: ExitStack) -> Kept:
    process, api = server.start(home, where.port, where.host, where.exposed)
    kept = Kept(
        "server",
        home / "server.log",
        lambda: server.start(home, where.port, where.host, where.exposed)[0],
        process,
    )
    stack.callback(lambda: server.stop(kept.process))
    os.environ["PREFECT_API_URL"] = api
    stack.enter_context(server.announced(home, api))
    if where.exposed:
        print(READABLE.format(address=f"{where.host}:{where.port}"), flush=True)
    print(server.welcome(home, api), flush=True)
    return kept


def _worker(home: Path, stack: ExitStack) -> Kept:
    log = home / "worker.log"

    def start() -> subprocess.Popen[bytes]:
        with log.open("wb") as stream:
            return subprocess.Popen(
                supervisor.command(sys.executable, "-m", "flows.serving.worker"),
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    kept = Kept("worker", log, start, start())
    stack.callback(lambda: server.stop(kept.process))
    deadline = time.monotonic() + server.STARTUP
    while WORKER_READY not in log.read_text(errors="replace"):
        if kept.process.poll() is not None or time.monotonic() > deadline:
            raise UserError("no_worker", f"the worker did not start: {server.tail(log)}", f"read {log}")
        time.sleep(0.2)
    return kept


def _refuse_open(where: Where) -> None:
    """UserError where others could reach the server without anybody having said so."""
    try:
        address = ipaddress.ip_address(where.host)
    except ValueError:
        raise UserError("bad_address", f"--host {where.host} is no IP address", "give one, such as 0.0.0.0") from None
    if address.is_loopback or where.exposed:
        return
    what = f"--host {where.host}: others could reach Prefect's pages, start runs there and read their logs and results"
    fix = "add --expose NAME, the name or address they will type into their browser, for each such name"
    raise UserError("not_exposed", what, fix)
