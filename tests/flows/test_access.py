"""Who is let in, by raw requests to the real server: wrong names, foreign pages, no token, other users' eyes."""

import base64
import http.client
import json
import os
import socket
from pathlib import Path

import psutil
import pytest

from flows.serving import access
from tests.flows.conftest import UNDERSTUDY, Server, Toy

WEBSOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"} | {
    "Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(),
    "Sec-WebSocket-Protocol": "prefect",
}


def _ask(server: Server, path: str, headers: dict[str, str], method: str = "GET") -> tuple[int, str]:
    """Status and body, with exactly these headers: Host only where one is given."""
    connection = http.client.HTTPConnection(server.pages.removeprefix("http://"), timeout=20)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = "" if answer.status == 101 else answer.read().decode()
    connection.close()
    return answer.status, body


@pytest.mark.parametrize("path", ["/api/health", "/api/version", "/", "/ui-settings", "/reports/current", "/docs"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4200", "127.0.0.1.evil.example", "", "localhost@evil.example"]
)
def test_a_name_that_is_not_ours_is_refused(host: str, path: str, server: Server) -> None:
    """A site whose name was pointed at 127.0.0.1 reads nothing here, with the right token or without one."""
    for headers in ({}, access.header(server.token)):
        status, said = _ask(server, path, {"Host": host} | headers)
        assert status in {400, 403}, said


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost.evil.example"]
)
def test_a_page_of_another_site_is_refused(origin: str, server: Server) -> None:
    """Neither its requests nor its question whether they are allowed are answered, and no WebSocket is opened."""
    token = access.header(server.token)
    for method in ("GET", "POST", "OPTIONS"):
        status, said = _ask(server, "/api/flows/filter", {"Origin": origin, "Content-Length": "0"} | token, method)
        assert (status, "refused" in said) == (403, True)
    assert _ask(server, "/api/events/out", WEBSOCKET | {"Origin": origin})[0] == 403
    assert _ask(server, "/api/events/out", WEBSOCKET | {"Host": "evil.example"})[0] == 403
    assert _ask(server, "/api/version", token | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"})[0] == 403


def test_ones_own_page_and_programs_are_let_in(server: Server) -> None:
    """With the token: by either name of this machine, from the server's own pages, over HTTP and WebSocket."""
    token = access.header(server.token)
    port = server.pages.rpartition(":")[2]
    assert _ask(server, "/api/version", token)[0] == 200
    assert _ask(server, "/api/version", token | {"Host": f"localhost:{port}"})[0] == 200
    assert _ask(server, "/api/version", token | {"Origin": server.pages, "Sec-Fetch-Site": "same-origin"})[0] == 200
    assert _ask(server, "/api/events/out", WEBSOCKET | {"Origin": server.pages})[0] == 101


@pytest.mark.parametrize("given", ["", "understudy:", "understudy:wrong", "admin:admin"])
def test_without_the_token_nothing_is_read_or_started(given: str, server: Server) -> None:
    """Every path of the API but its health, and the report; a WebSocket is closed after a wrong token."""
    headers = access.header(given)
    for path in (
        "/api/version",
        "/api/admin/settings",
        "/api/flow_runs/filter",
        "/api/artifacts/x",
        "/reports/current",
    ):
        assert _ask(server, path, headers)[0] == 401, path
    assert _ask(server, "/api/health", headers)[0] == 200
    assert json.loads(_ask(server, "/ui-settings", {})[1])["auth"] == "BASIC"


def test_the_token_is_for_its_owner_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file has mode 0600 from its first byte, keeps its token, and gets a new one when others could read it."""
    os.umask(before := os.umask(0))
    os.umask(0)
    try:
        first = access.token(tmp_path)
    finally:
        os.umask(before)
    path = access.token_file(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(first) > 40
    assert access.token(tmp_path) == first
    path.chmod(0o640)
    assert access.token(tmp_path) != first
    assert path.stat().st_mode & 0o777 == 0o600
    assert "others could read" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path]


def test_every_listener_is_on_loopback(server: Server) -> None:
    """Whatever the server, its worker and their children listen on cannot be reached from another machine."""
    assert (server.home / "token").stat().st_mode & 0o777 == 0o600
    ours = [p for p in psutil.process_iter() if p.is_running() and _folder(p) == str(server.project.folder)]
    listening = [c.laddr for p in ours for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    assert int(server.pages.rpartition(":")[2]) in {address.port for address in listening}
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def _folder(process: psutil.Process) -> str:
    try:
        return process.cwd()
    except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def test_other_addresses_need_to_be_asked_for(tmp_path: Path) -> None:
    """An address that others reach is refused without --expose, with what they could do; no address is no host."""
    toy = Toy(tmp_path / "toy", {})
    done = toy.run(UNDERSTUDY, "serve", "--host", "0.0.0.0")
    assert (done.returncode, "--expose" in done.stderr, "start runs" in done.stderr) == (2, True, True)
    done = toy.run(UNDERSTUDY, "ui", "--host", socket.gethostname())
    assert (done.returncode, "no IP address" in done.stderr) == (2, True)
    assert not (toy.folder / ".prefect/address").exists()


def test_a_run_without_the_token_says_where_it_is(tmp_path: Path, server: Server) -> None:
    """`understudy run` against a server of another project ends at once and names the file to look into."""
    toy = Toy(tmp_path / "toy", {"a": ("ok", [])})
    toy.env |= {"PREFECT_API_URL": server.api}
    done = toy.run(UNDERSTUDY, "run")
    assert done.returncode == 2, done.stderr
    assert "wants a token" in done.stderr
    assert "PREFECT_API_AUTH_STRING" in done.stderr
