"""The review as a labeler sees it: the real App in a real browser, a click that ends in the ledger."""

import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tasks import decisions
from tests.conftest import ROOT, Project
from tests.ui.browser import CHROMIUM, FLAGS

SCREENSHOTS = os.environ.get("UNDERSTUDY_SCREENSHOTS") == "1"
pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200 if SCREENSHOTS else 400)]
PATIENCE = 90_000  # milliseconds: the App is slow to start on a busy machine


@pytest.fixture
def address(project: Project) -> Iterator[str]:
    """`understudy review --round r1` on a free port; the address it prints."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if SCREENSHOTS:  # with the labels of a net that learnt something
        shutil.copy(ROOT / "params.yaml", project.folder)
        project.repro("curate@r2")
    project.edit(lambda settings: settings["review"].update(port=port))
    app = project.start("understudy", "review", "--round", "r1")
    assert app.stdout is not None
    said = []
    for line in app.stdout:
        said.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+/\S+", line):
            break
    else:
        pytest.fail(f"the App did not start:\n{''.join(said)}")
    yield found[0]
    os.kill(app.pid, signal.SIGTERM)
    app.communicate(timeout=90)  # returns when mongod and the App's server are gone too: they share its output


@pytest.fixture
def page() -> Iterator[Page]:
    """An empty page of a headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield page
        browser.close()


def test_a_label_changed_by_clicks_reaches_the_ledger(project: Project, address: str, page: Page) -> None:
    """The saved view shows pictures; another class clicked in Annotate is a row of the ledger after --sync."""
    page.goto(address)
    page.get_by_role("button", name="Dismiss").dispatch_event("click")  # an advertisement
    expect(page.locator("[data-cy=saved-views-selection]")).to_contain_text("least confident kept")
    looker = page.locator("[data-cy=fo-grid] [data-cy=looker]")
    expect(looker.nth(5).locator("canvas[canvas-loaded=true]")).to_be_visible()
    if SCREENSHOTS:
        _screenshot(page, ROOT / "docs/images/review.png")

    looker.first.click()
    page.locator("[data-cy=annotate]").click()
    panel = page.locator("[data-cy=modal] [data-cy=sidebar]")
    panel.locator("[data-cy^=annotate-label-][data-cy-path=review]").click()
    expect(panel.get_by_role("radio", checked=True)).to_be_visible()
    new = panel.get_by_role("radio", checked=False).first
    name = new.locator("xpath=following-sibling::label").inner_text()
    new.click()
    expect(panel.get_by_role("radio", name=name)).to_be_checked()

    [decision] = _sync_until_said(project)
    assert (decision.action, decision.new, decision.who) == ("relabel", name, "Ada")
    assert decision.old != name
    again = project.run("understudy", "review", "--round", "r1", "--sync", "--who", "Ada")
    assert "nothing new" in again.stdout


def _sync_until_said(project: Project) -> list[decisions.Decision]:
    """The App saves in the background; one sync takes seconds, so the second at the latest finds it."""
    for _ in range(3):
        done = project.run("understudy", "review", "--round", "r1", "--sync", "--who", "Ada")
        assert done.returncode == 0, done.stdout + done.stderr
        if said := decisions.read(project.folder / "data/decisions/r1.csv"):
            return said
    pytest.fail("the click never reached the database")


def _screenshot(page: Page, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    page.mouse.move(0, 0)
    page.screenshot(path=path, animations="disabled")
