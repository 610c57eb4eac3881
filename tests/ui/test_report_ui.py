"""The report in a real browser: it opens from the file alone, light and dark, on a laptop and a phone."""

import os

import pytest
from playwright.sync_api import sync_playwright

from tests.conftest import ROOT, Project
from tests.ui.browser import CHROMIUM, FLAGS

SCREENSHOTS = os.environ.get("UNDERSTUDY_SCREENSHOTS") == "1"
pytestmark = [pytest.mark.ui, pytest.mark.timeout(400)]


def test_the_report_needs_nothing_but_itself(finished_project: Project) -> None:
    """No request leaves the page, nothing is logged as an error, every picture loads, nothing scrolls sideways."""
    # The picture for the README is that of a real run, which `make run` left in this repository.
    folder = ROOT if SCREENSHOTS else finished_project.folder
    address = (folder / "data/report/report.html").as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for width, scheme in ((1280, "light"), (390, "dark")):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            problems: list[str] = []
            page.on("console", lambda message, seen=problems: seen.append(message.text))
            page.on("pageerror", lambda error, seen=problems: seen.append(str(error)))
            page.on("request", lambda r, seen=problems: r.url[:5] in {"file:", "data:"} or seen.append(r.url))
            page.goto(address)
            assert problems == []
            assert page.locator("img").count() > 0
            assert page.locator("img").evaluate_all("all => all.every(i => i.complete && i.naturalWidth > 0)")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            if SCREENSHOTS and scheme == "light":
                page.screenshot(path=ROOT / "docs/images/report.png")
        browser.close()
