"""The plugin as a reviewer uses it: the real App in a real browser; what is counted are the reviewer's own actions."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tasks import decisions
from tests.conftest import ROOT, Project
from tests.review import digits
from tests.ui.browser import MARKS, SCREENSHOTS, app, free_port, open_app, screenshot

pytestmark = MARKS
IMAGES, WRONG, MOST = 64, 50, 60


class Hand:
    """The reviewer's hand: a click or a key is one action."""

    def __init__(self, page: Page) -> None:
        self.page, self.actions = page, 0

    def click(self, selector: str, *, shift: bool = False) -> None:
        """Click the first that is found."""
        self.actions += 1
        self.page.locator(selector).first.click(modifiers=["Shift"] if shift else [])

    def press(self, key: str) -> None:
        """Press a key."""
        self.actions += 1
        self.page.keyboard.press(key)


@pytest.mark.xfail(run=False, reason="the panel does not open by itself every time (docs/decisions.md)")
def test_fifty_corrections_take_at_most_sixty_actions_and_all_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: Page
) -> None:
    """One key a picture, whatever its class; saved from the panel; a sync afterwards finds nothing new."""
    monkeypatch.chdir(tmp_path)
    truth = digits.make(tmp_path, IMAGES, WRONG, free_port())
    project, ledger = Project(tmp_path), tmp_path / "data/decisions/r1.csv"
    with app(project, "understudy", "review", "--round", "r1", "--who", "Ada") as address:
        open_app(page, address, "least confident kept")
        expect(page.get_by_text(f"0 of {IMAGES} done")).to_be_visible()
        picture = page.locator("[data-cy=modal] [data-cy=looker] canvas[canvas-loaded=true]")
        hand = Hand(page)
        hand.click("[data-cy=fo-grid] [data-cy=looker]")
        for number, label in enumerate([*truth.values()][:WRONG]):
            expect(picture).to_be_visible()
            before = _open(page)
            if SCREENSHOTS and number == 7:
                screenshot(page, ROOT / "docs/images/review-open.png")
            hand.press(label)
            page.wait_for_function("id => new URLSearchParams(location.search).get('id') !== id", arg=before)
        expect(picture).to_be_visible()
        hand.press("Escape")
        expect(page.locator("[data-cy=modal]")).to_be_hidden()
        expect(page.get_by_text(f"{WRONG} of {IMAGES} done")).to_be_visible()
        expect(page.get_by_text(f"{WRONG} errors found")).to_be_visible()
        if SCREENSHOTS:
            screenshot(page, ROOT / "docs/images/review-panel.png")
        hand.click("button:has-text('save to ledger')")
        expect(page.get_by_text(re.compile(r"(?<!\d)0 not in the ledger yet"))).to_be_visible()
        assert hand.actions <= MOST

        said = decisions.read(ledger)
        assert {d.image_id: (d.action, d.new, d.who) for d in said} == {
            image_id: ("relabel", label, "Ada") for image_id, label in [*truth.items()][:WRONG]
        }
        done = project.run("understudy", "review", "--round", "r1", "--sync", "--who", "Ada")
        assert "nothing new" in done.stdout, done.stdout + done.stderr


def _open(page: Page) -> str:
    found: str = page.evaluate("new URLSearchParams(location.search).get('id')")
    return found
