"""The review as a labeler sees it: the real App in a real browser, a click that ends in the ledger."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tasks import decisions
from tests.conftest import ROOT, Project, free_port
from tests.ui.browser import MARKS, SCREENSHOTS, app, open_app, screenshot

pytestmark = MARKS


@pytest.fixture
def address(project: Project) -> Iterator[str]:
    """`understudy review --round r1` on a free port; the address it prints."""
    if SCREENSHOTS:  # with the labels of a net that learnt something
        shutil.copy(ROOT / "params.yaml", project.folder)
        project.repro("curate@r2")
    project.edit(lambda settings: settings["review"].update(port=free_port()))
    with app(project, "understudy", "review", "--round", "r1", "--who", "Ada") as address:
        yield address


def test_a_label_changed_by_clicks_reaches_the_ledger(project: Project, address: str, page: Page) -> None:
    """The saved view shows pictures; another class clicked in Annotate is a row of the ledger after --sync."""
    open_app(page, address, "least confident kept")
    if SCREENSHOTS:
        screenshot(page, ROOT / "docs/images/review.png")

    page.locator("[data-cy=fo-grid] [data-cy=looker]").first.click()
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
