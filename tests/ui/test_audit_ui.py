"""An audit as a reviewer sees it: the real App in a real browser, no word that betrays a label, a click that counts."""

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tasks import audits
from tasks.review import blind
from tests.conftest import ROOT, Project, free_port
from tests.ui.browser import MARKS, SCREENSHOTS, app, open_app, screenshot

pytestmark = MARKS
BETRAYING = re.compile(r"confidence|teacher|prediction|planted|truth|\br[12]\b|[0-9a-f]{40}|\d\.\d\d", re.IGNORECASE)


@pytest.fixture
def address(project: Project) -> Iterator[str]:
    """`understudy audit --n 20` on a free port; the address it prints."""
    if SCREENSHOTS:  # with the labels of a net that learnt something
        shutil.copy(ROOT / "params.yaml", project.folder)
        project.repro("curate@r1")
    project.edit(lambda settings: settings["review"].update(port=free_port()))
    with app(project, "understudy", "audit", "--round", "r1", "--n", "20", "--who", "Ada") as address:
        yield address


def test_a_picture_named_by_clicks_reaches_the_ledger(project: Project, address: str, page: Page) -> None:
    """Neither the grid with every group unfolded nor a picture shows more than pictures; the class chosen is a row."""
    open_app(page, address, "not named yet")
    expect(page.get_by_text("21 samples")).to_be_visible()
    _betrays_nothing(page.locator("body"))

    page.locator("[data-cy=fo-grid] [data-cy=looker]").first.click()
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
        screenshot(page, ROOT / "docs/images/audit.png")
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
