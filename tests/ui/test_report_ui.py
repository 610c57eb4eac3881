"""The report in a real browser: it opens from the file alone, light and dark, on a laptop and a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests import reported
from tests.conftest import ROOT, Project
from tests.ui.browser import CHROMIUM, FLAGS, SCREENSHOTS

WIDTHS = (1280, 390, 360)  # a laptop, a phone, a small phone
LIGHT, DARK = "rgb(247, 246, 243)", "rgb(20, 23, 26)"
pytestmark = [pytest.mark.ui, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def _open(browser: Browser, path: Path, width: int, scheme: str) -> Page:
    """The page; nothing may be logged and nothing asked for but the file itself."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: r.url[:5] in {"file:", "data:"} or problems.append(r.url))
    page.goto(path.as_uri())
    assert problems == []
    return page


def _fits(page: Page, width: int) -> None:
    """The page does not scroll sideways, and whatever is wider than it lies in a box of its own that does."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = """all => all.filter(e => e.getBoundingClientRect().right > innerWidth + 1
        && !e.closest('.scroll, nav, svg, .clip')).map(e => e.outerHTML.slice(0, 120))"""
    assert page.locator("main *").evaluate_all(outside) == []


def _seen(page: Page, scheme: str) -> None:
    """Every picture is there and has words for those who do not see it; text and charts take the scheme's colours."""
    images = page.locator("img")
    assert images.count() > 0
    assert images.evaluate_all("all => all.every(i => i.complete && i.naturalWidth > 0 && i.alt.length > 3)")
    assert page.locator("figure").evaluate_all("all => all.every(f => f.getAttribute('aria-label').length > 3)")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (LIGHT if scheme == "light" else DARK)
    ink = page.evaluate("getComputedStyle(document.body).color")
    axis = page.locator("svg text").first
    assert axis.evaluate("e => getComputedStyle(e).fill") == ink
    assert axis.evaluate("e => e.getBoundingClientRect().height") > 7  # still to be read on a phone


def test_the_report_needs_nothing_but_itself(finished_project: Project, browser: Browser) -> None:
    """No request leaves the page, no error is logged, every picture loads, nothing scrolls sideways, it is small."""
    # The pictures for the README are those of a real run, which `make run` left in this repository.
    folder = ROOT if SCREENSHOTS else finished_project.folder
    path = folder / "data/report/report.html"
    assert path.stat().st_size < 2_000_000
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            page = _open(browser, path, width, scheme)
            _seen(page, scheme)
            _fits(page, width)
            for link in page.locator("nav a").all():
                assert page.locator(str(link.get_attribute("href"))).count() == 1
            if SCREENSHOTS and (width, scheme) in {(1280, "light"), (390, "dark")}:
                name = "report.png" if scheme == "light" else "report-phone.png"
                page.screenshot(path=ROOT / "docs/images" / name)
            page.close()


def test_long_names_do_not_break_a_phone(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Class names without a space, as long as a line of text, and a hundred of them: nothing leaves the page."""
    monkeypatch.chdir(tmp_path)
    for classes in (["x" * 120, "y" * 120, "<b>" * 30], [f"{i:03d}" + "w" * 60 for i in range(100)]):
        reported.make(classes)
        page = _open(browser, tmp_path / "data/report/report.html", 360, "light")
        _fits(page, 360)
        assert classes[0] in page.locator("body").inner_text().replace("\u200b", "")
        page.close()
