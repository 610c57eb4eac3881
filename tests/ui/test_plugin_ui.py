"""The plugin as a reviewer uses it: the real App in a real browser; what is counted are the reviewer's own actions."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tasks import decisions
from tests.conftest import ROOT, Project, free_port
from tests.review import digits
from tests.ui.browser import MARKS, SCREENSHOTS, app, open_app, screenshot

pytestmark = MARKS
IMAGES, WRONG, MOST = 64, 50, 60
ODD = ["0", "1", "reject", "two words", "猫", "class: dog", "undo", "naïve, <b>bold</b>", "*star*", "9"]
PICTURE = "[data-cy=fo-grid] [data-cy=looker]"
OPEN = "[data-cy=modal] [data-cy=looker] canvas[canvas-loaded=true]"


class Hand:
    """The reviewer's hand: a click or a key is one action."""

    def __init__(self, page: Page) -> None:
        self.page, self.actions = page, 0

    def click(self, what: Locator | str) -> None:
        """Click the first that is found."""
        self.actions += 1
        (self.page.locator(what).first if isinstance(what, str) else what.first).click()

    def select(self, first: int, last: int | None = None) -> None:
        """Select a picture of the grid by its corner; with shift all up to another one."""
        for number, modifiers in ((first, []), *([(last, ["Shift"])] if last is not None else [])):
            self.actions += 1
            corner = {"x": 10, "y": 5}
            self.page.locator(PICTURE).nth(number).click(position=corner, modifiers=modifiers)  # type: ignore[arg-type]

    def press(self, key: str) -> None:
        """Press a key."""
        self.actions += 1
        self.page.keyboard.press(key)


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
        hand = Hand(page)
        hand.click(PICTURE)
        for number, label in enumerate([*truth.values()][:WRONG]):
            expect(page.locator(OPEN)).to_be_visible()
            before = _opened(page)
            if SCREENSHOTS and number == 7:
                expect(
                    page.locator("[data-cy=modal]").get_by_text(re.compile(r"pool/\d{4}\.png")).first
                ).to_be_visible()
                screenshot(page, ROOT / "docs/images/review-open.png")
            hand.press(label)
            page.wait_for_function("id => new URLSearchParams(location.search).get('id') !== id", arg=before)
        expect(page.locator(OPEN)).to_be_visible()
        beside = page.locator("[data-cy=modal]")  # the panel beside the open picture
        expect(beside.get_by_text(f"{WRONG} of {IMAGES} done")).to_be_visible()
        expect(beside.get_by_text(f"{WRONG} errors found")).to_be_visible()
        hand.click(beside.get_by_role("button", name="save to ledger"))
        expect(beside.get_by_text(re.compile(r"(?<!\d)0 not in the ledger yet"))).to_be_visible()
        assert hand.actions <= MOST

        said = decisions.read(ledger)
        assert {d.image_id: (d.action, d.new, d.who) for d in said} == {
            image_id: ("relabel", label, "Ada") for image_id, label in [*truth.items()][:WRONG]
        }
        done = project.run("understudy", "review", "--round", "r1", "--sync", "--who", "Ada")
        assert "nothing new" in done.stdout, done.stdout + done.stderr


class Reviewer(Hand):
    """A hand with an eye on the panel."""

    def sees(self, *texts: str | re.Pattern[str]) -> None:
        """Wait until the page says all of it."""
        for text in texts:
            expect(self.page.get_by_text(text).first).to_be_visible()

    def button(self, name: str | re.Pattern[str]) -> Locator:
        """One of the panel's."""
        return self.page.get_by_role("button", name=name).first


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A queue of 60 of 120 digits under odd names, opened by somebody with an odd name; its address."""
    monkeypatch.chdir(tmp_path)
    digits.make(tmp_path, 120, 0, free_port(), classes=ODD)
    command = ["understudy", "review", "--round", "r1", "--budget", "60", "--who", "Ada <3"]
    with app(Project(tmp_path), *command) as address:
        yield address


def test_a_queue_is_worked_off_by_selections_keys_and_buttons(queue: str, page: Page, tmp_path: Path) -> None:
    """A range and one key, undo, accept, reject, next batch, a button; a second tab and a reload forget nothing; names
    of classes that look like acts, tags or Markdown are names; the panel's numbers are those of the ledger."""
    open_app(page, queue, "review queue")
    ada = Reviewer(page)
    ada.sees("0 of 60 done", "as Ada <3")
    for name in ODD:
        exact = re.escape(name).replace("/", r"\/")  # a slash ends a pattern in the browser's own language
        expect(ada.button(re.compile(rf"^{exact}( \(\d\))?$"))).to_be_visible()
    ada.select(0)
    ada.sees(re.compile(r"pool/\d{4}\.png"))  # the lineage of the one selected picture
    ada.select(0)
    ada.select(0, 4)
    ada.sees("5 pictures selected")
    ada.press("2")  # the first class without a key of its own
    ada.sees("5 of 60 done")
    ada.press("u")
    ada.sees("0 of 60 done", "5 pictures selected")  # taken back, they are selected again
    ada.press("a")
    ada.sees("5 of 60 done", "0 errors found")
    ada.select(5, 6)
    ada.press("x")
    ada.sees("7 of 60 done", "2 errors found", re.compile(r"95 %: \d\.\d{3} to \d|nothing judged yet"))
    ada.press("n")
    expect(page.get_by_text("50 samples")).to_be_visible()

    assert page.context.browser is not None
    other = page.context.browser.new_page(viewport=page.viewport_size)
    open_app(other, queue, "review queue")
    Reviewer(other).sees("7 of 60 done")
    other.close()
    page.reload()  # shows the queue from its start again
    ada.sees("7 of 60 done")
    expect(page.locator(PICTURE).nth(2).locator("canvas[canvas-loaded=true]")).to_be_visible()
    ada.press("n")
    expect(page.get_by_text("50 samples")).to_be_visible()
    expect(page.locator(PICTURE).nth(2).locator("canvas[canvas-loaded=true]")).to_be_visible()
    ada.select(0, 1)
    ada.click(ada.button(re.compile(r"^reject \(\d\)$")))  # the class
    ada.sees("9 of 60 done")
    ada.click(ada.button("save to ledger"))
    ada.sees(re.compile(r"(?<!\d)0 not in the ledger yet"))
    said = decisions.read(tmp_path / "data/decisions/r1.csv")
    assert {d.who for d in said} == {"Ada <3"}
    acts = Counter(d.action for d in said)
    assert (len(said), acts["reject"], acts["accept"] + acts["relabel"]) == (9, 2, 7)
    assert all(d.new == d.old for d in said if d.action == "accept")
    assert all(d.new == "reject" for d in said if d.action == "relabel")  # the class; a picture that has it is accepted
    assert 1 <= acts["relabel"] <= 2


def _opened(page: Page) -> str:
    found: str = page.evaluate("new URLSearchParams(location.search).get('id')")
    return found
