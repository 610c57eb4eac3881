"""The App's server: what it answers, to whom, and which files it gives away. Real requests to the real server."""

import http.client
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.review import app, guard, session
from tests.conftest import free_port
from tests.review.conftest import Workspace

HERE = [(b"host", b"127.0.0.1:5151")]


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"host": "127.0.0.1:5151"}, True),
        ({"host": "localhost:8000"}, True),  # through ssh -L
        ({"host": "[::1]:5151"}, True),
        ({}, False),
        ({"host": "evil.example"}, False),
        ({"host": "127.0.0.1.evil.example:5151"}, False),
        ({"host": "evil.example@127.0.0.1.evil.example"}, False),
        ({"host": "[::1"}, False),
        ({"host": "localhost:5151", "origin": "http://localhost:5151"}, True),
        ({"host": "localhost:5151", "origin": "http://localhost:4200"}, False),  # another server of this machine
        ({"host": "localhost:5151", "origin": "null"}, False),
        ({"host": "localhost:5151", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, True),
        ({"host": "localhost:5151", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, False),
        ({"host": "localhost:5151", "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, False),
        (
            {
                "host": "localhost:5151",
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "document",
            },
            True,  # a link to the App
        ),
        (
            {
                "host": "localhost:5151",
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "iframe",
            },
            False,
        ),
    ],
)
def test_only_pages_of_this_server_are_answered(headers: dict[str, str], passes: bool) -> None:
    """Loopback names with any port; no other page of the web or of this machine, but a link that shows the App."""
    assert (guard.objection([(k.encode(), v.encode()) for k, v in headers.items()]) == "") == passes


def test_two_hosts_are_none() -> None:
    """A request that names two hosts could be read either way."""
    assert guard.objection([*HERE, (b"Host", b"localhost")])


@given(st.lists(st.sampled_from(["..", ".", "inside", "outside", "a.png", "b.png", "link.png", "", "\0", "key.json"])))
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    """Whatever a path is made of, only an image file inside the folder comes out of it."""
    home = tmp_path_factory.getbasetemp() / "guarded"
    if not home.exists():
        for name in ("inside/a.png", "outside/b.png", "inside/key.json"):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_bytes(b"x")
        (home / "inside/link.png").symlink_to(home / "outside/b.png")
        (home / "inside/outside").symlink_to(home / "outside")
    for start in (home, home / "inside"):
        found = guard.picture("/".join([str(start), *parts]), [home / "inside"])
        assert found in {None, home / "inside/a.png"}


@pytest.fixture
def port(fo: Any, review: Workspace) -> Iterator[int]:
    """The App on the review of r1, started as `understudy review` does."""
    assert fo.dataset_exists(session.build("r1", review.settings).name)
    with app.server(number := free_port()):
        yield number


def test_the_server_gives_away_pictures_and_nothing_else(fo: Any, review: Workspace, port: int) -> None:
    """Pictures are served byte for byte; no other file however it is spelt, no foreign page, no second listener."""
    own = Path(fo.load_dataset("understudy-r1").first().filepath)
    assert _get(port, f"/media?filepath={quote(str(own))}") == (200, own.read_bytes())
    assert _get(port, f"/media?filepath={quote(str(own))}", Range="bytes=0-3") == (206, own.read_bytes()[:4])
    assert _get(port, "/datasets/understudy-r1")[0] == 200

    folder = own.parent
    (folder / "link.png").symlink_to("/etc/passwd")
    (folder / "linked").symlink_to(review.folder)
    (review.folder / "mine.png").write_bytes(own.read_bytes())
    key = review.folder / ".work/audit/keys/0.json"
    key.parent.mkdir(parents=True)
    key.write_text("{}")
    for path in (
        "/etc/passwd",
        f"{folder}/../../../params.yaml",
        f"{folder}/../../../mine.png",
        f"{folder}/link.png",
        f"{folder}/linked/mine.png",
        f"{folder}\0/etc/passwd",
        f"{folder}/{'x' * 300}.png",
        f"file://{own}",
        own.name,
        str(folder),
        str(key),
        "",
    ):
        for spelt in (quote(path), quote(path, safe=""), "".join(f"%{byte:02x}" for byte in path.encode())):
            for route in ("/media", "/media%0a", "/%6dedia", "//media", "/media/"):
                status, body = _get(port, f"{route}?filepath={spelt}")
                assert status != 200 or b"root:" not in body, (route, spelt)
                assert route not in ("/media", "/media%0a", "/%6dedia") or status == 403, (route, spelt, status)
    twice = f"/media?filepath={quote(str(own))}&filepath=/etc/passwd"
    assert _get(port, twice)[0] == 403

    for foreign in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        for path in ("/", "/fiftyone", "/graphql", f"/media?filepath={quote(str(own))}"):
            assert _get(port, path, **foreign)[0] == 403, (foreign, path)


def test_what_a_page_asks_for_is_what_it_is_told(fo: Any, port: int) -> None:
    """A page that opens a view and a workspace is told both, and nobody else tells it another: the server's state was
    that page's own."""
    opened = {"dataset": "understudy-r1", "view": "class-odd", "workspace": "review"}
    fo.load_dataset("understudy-r1").save_view("class: odd", fo.load_dataset("understudy-r1").limit(2))
    said = {"initializer": opened, "events": ["state_update"], "subscription": "a page"}
    with httpx.stream("POST", f"http://127.0.0.1:{port}/events", json=said, timeout=60) as answer:
        until = time.monotonic() + 5  # lines come all the time: pings
        told = list(itertools.takewhile(lambda _: time.monotonic() < until, answer.iter_lines()))
    states = [json.loads(line.removeprefix("data: "))["state"] for line in told if line.startswith("data: {")]
    assert [(state["saved_view_slug"], state["spaces"]["_name"]) for state in states] == [("class-odd", "review")]


@pytest.mark.usefixtures("fo", "review")
def test_the_server_ends_with_whoever_started_it() -> None:
    """Also when that process is killed."""
    code = (
        "from tasks.review import app\nwith app.server(int(input())): print('there', flush=True); app.time.sleep(600)\n"
    )
    number = free_port()
    run = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdin is not None
    assert run.stdout is not None
    run.stdin.write(f"{number}\n")
    run.stdin.flush()
    assert run.stdout.readline() == "there\n"
    server = psutil.Process(run.pid).children()[0]
    run.kill()
    run.communicate()
    server.wait(timeout=30)


def _get(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        asked.request("GET", path, headers=headers)
        answer = asked.getresponse()
        return answer.status, answer.read()
    finally:
        asked.close()
