"""A project under `understudy serve`, asked as its pages ask it, and a receiver of its alerts."""

import json
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError

from tests.conftest import Project, free_port
from tests.flows.conftest import UNDERSTUDY, Server, eventually


class Patient(Server):
    """SQLite is locked now and then while the server starts; it says 503 then."""

    def _ask(self, path: str, data: bytes | None) -> Any:
        for _ in range(20):
            try:
                return super()._ask(path, data)
            except HTTPError as error:
                error.close()
                if error.code != 503:
                    raise
                time.sleep(1)
        return super()._ask(path, data)


class Serving:
    """`understudy serve` in a project, and what its alerts said."""

    command = "serve"

    def __init__(self, project: Project, *options: str) -> None:
        self.project, self.port, self.told, self.options = project, free_port(), [], options
        told: list[dict[str, Any]] = self.told

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=self.receiver.serve_forever, daemon=True).start()
        project.env["UNDERSTUDY_WEBHOOK"] = f"http://127.0.0.1:{self.receiver.server_port}/"
        self.server = Patient(f"http://127.0.0.1:{self.port}", project)
        self.process: subprocess.Popen[str]
        self.start()

    def close(self) -> None:
        """Stop all of it as Ctrl-C does; no process is left, and a mongod of a review ends by itself."""
        self.end(signal.SIGINT)
        self.receiver.shutdown()
        self.receiver.server_close()
        eventually(lambda: self.project.alive() == [], 60)

    def start(self) -> None:
        """`understudy serve`, until it says that all is there."""
        self.process = self.project.start(UNDERSTUDY, self.command, "--port", str(self.port), *self.options)
        assert self.process.stdout is not None
        said = ""
        while (line := self.process.stdout.readline()) and "Ctrl-C" not in line:
            said += line
        assert line, said
        self.reader = threading.Thread(target=self.process.stdout.read, daemon=True)
        self.reader.start()

    def kill(self) -> None:
        """All of it, as when the machine stops."""
        self.end(signal.SIGKILL)
        eventually(lambda: self.project.alive() == [])

    def end(self, by: signal.Signals) -> None:
        """Stop `understudy serve` and read what it still says."""
        self.process.send_signal(by)
        self.process.wait(timeout=60)
        self.reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def begin(self, name: str, **parameters: Any) -> str:
        """Start a deployment as a click in the pages does; the run's id."""
        found = self.server.get(f"deployments/name/{name}/{name}")
        asked = {"parameters": parameters}
        return str(self.server.post(f"deployments/{found['id']}/create_flow_run", asked)["id"])

    def resume(self, run: str, **answer: Any) -> str:
        """Fill in the form of a suspended run; what the server says: ACCEPT or REJECT."""
        return str(self.server.post(f"flow_runs/{run}/resume", {"run_input": answer})["status"])

    def state(self, run: str) -> dict[str, Any]:
        """The state of a run as the pages show it."""
        return dict(self.server.get(f"flow_runs/{run}")["state"])

    def ended(self, run: str) -> bool:
        """Whether the pages show a run as ended; False where no server answers."""
        try:
            return self.state(run)["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        except OSError:
            return False

    def ends(self, run: str, name: str, seconds: float = 300) -> dict[str, Any]:
        """Wait until a run is in the state of this name."""
        eventually(lambda: self.state(run)["name"] == name, seconds)
        return self.state(run)

    def alert(self, kind: str, run: str) -> dict[str, Any]:
        """Wait for an alert about a run."""
        eventually(lambda: [t for t in self.told if (t["kind"], t["run_id"]) == (kind, run)], 30)
        return next(t for t in self.told if (t["kind"], t["run_id"]) == (kind, run))
