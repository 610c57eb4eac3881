"""An audit as a reviewer sees it: the real App in a real browser, no word that betrays a label, a click that counts."""

import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from tasks import audits
from tasks.review import blind
from tests.conftest import ROOT, Project
from tests.ui.browser import CHROMIUM, FLAGS

SCREENSHOTS = os.environ.get("UNDERSTUDY_SCREENSHOTS") == "1"
pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200 if SCREENSHOTS else 400)]
PATIENCE = 90_000  # milliseconds: the App is slow to start on a busy machine
BETRAYING = re.compile(r"confidence|teacher|prediction|planted|truth|\br[12]\b|[0-9a-f]{40}|\d\.\d\d", re.IGNORECASE)


@pytest.fixture
def address(project: Project) -> Iterator[str]:
    """`understudy audit --n 20` on a free port; the address it prints."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if SCREENSHOTS:  # with the labels of a net that learnt something
        shutil.copy(ROOT / "params.yaml", project.folder)
        project.repro("curate@r1")
    project.edit(lambda settings: settings["review"].update(port=port))
    app = project.start("understudy", "audit", "--round", "r1", "--n", "20", "--who", "Ada")
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


def test_a_picture_named_by_clicks_reaches_the_ledger(project: Project, address: str, page: Page) -> None:
    """Neither the grid with every group unfolded nor a picture shows more than pictures; the class chosen is a row."""
    page.goto(address)
    page.get_by_role("button", name="Dismiss").dispatch_event("click")  # an advertisement
    expect(page.locator("[data-cy=saved-views-selection]")).to_contain_text("not named yet")
    looker = page.locator("[data-cy=fo-grid] [data-cy=looker]")
    expect(looker.nth(5).locator("canvas[canvas-loaded=true]")).to_be_visible()
    expect(page.get_by_text("21 samples")).to_be_visible()
    _betrays_nothing(page.locator("body"))

    looker.first.click()
    modal = page.locator("[data-cy=modal]")
    expect(modal.get_by_text("metadata.mime_type")).to_be_attached()  # in the group that is closed
    _betrays_nothing(modal)
    page.locator("[data-cy=annotate]").click()
    expect(modal.get_by_text("No labels to annotate")).to_be_visible()
    page.wait_for_timeout(5000)  # the tab is drawn twice, and the button of the first time leads nowhere
    page.locator("[data-cy=create-classification]").click()
    panel = modal.locator("[data-cy=sidebar]")
    chosen = panel.get_by_role("radio").last
    expect(chosen).to_be_visible()
    expect(panel.get_by_role("radio", name=blind.CHOOSE)).to_be_checked()  # no class is, before one is chosen
    name = chosen.locator("xpath=following-sibling::label").inner_text()
    if SCREENSHOTS:
        _screenshot(page, ROOT / "docs/images/audit.png")
    chosen.click()
    expect(panel.get_by_role("radio", name=name)).to_be_checked()

    [row] = _sync_until_said(project)
    assert (row.action, row.answer, row.who) == ("class", name, "Ada")
    card = project.run("understudy", "audit", "--round", "r1")
    assert card.returncode == 0, card.stderr
    assert "20 draws of" in card.stdout or "not measured" in card.stdout  # the one may be a planted image


def _betrays_nothing(part: Locator) -> None:
    assert BETRAYING.findall(part.inner_text()) == []


def _sync_until_said(project: Project) -> list[audits.Said]:
    """The App saves in the background; one sync takes seconds, so the second at the latest finds it."""
    for _ in range(3):
        done = project.run("understudy", "audit", "--round", "r1", "--sync", "--who", "Ada")
        assert done.returncode == 0, done.stdout + done.stderr
        if said := audits.read(project.folder / "data/decisions/audit.csv"):
            return said
    pytest.fail("the click never reached the database")


def _screenshot(page: Page, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    page.mouse.move(0, 0)
    page.screenshot(path=path, animations="disabled")
