"""What the browser tests share: Debian's chromium, headless, asking nobody on the network, and FiftyOne's App."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import Project

SCREENSHOTS = os.environ.get("UNDERSTUDY_SCREENSHOTS") == "1"
MARKS = [pytest.mark.ui, pytest.mark.timeout(1200 if SCREENSHOTS else 400)]
PATIENCE = 90_000  # milliseconds: the App is slow to start on a busy machine
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def app(project: Project, *command: str) -> Iterator[str]:
    """A command that serves FiftyOne's App, and the address it prints."""
    process = project.start(*command)
    assert process.stdout is not None
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/\S+", line):
                break
        else:
            pytest.fail(f"the App did not start:\n{''.join(said)}")
        yield found[0]
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)  # returns when mongod and the App's server are gone too: they share its output


def open_app(page: Page, address: str, view: str) -> None:
    """Go to the App, send its advertisement away and wait for the pictures of a saved view."""
    chosen = page.locator("[data-cy=saved-views-selection]").filter(has_text=view)
    page.goto(address)
    page.get_by_role("button", name="Dismiss").dispatch_event("click")
    expect(chosen).to_be_visible()
    looker = page.locator("[data-cy=fo-grid] [data-cy=looker]")
    expect(looker.nth(5).locator("canvas[canvas-loaded=true]")).to_be_visible()


def screenshot(page: Page, path: Path) -> None:
    """What is seen now, without the mouse."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.mouse.move(0, 0)
    page.screenshot(path=path, animations="disabled")
