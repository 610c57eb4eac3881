"""What all browser tests share: the page, and one `understudy serve` for the tests of runs."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.ui.browser import CHROMIUM, FLAGS, PATIENCE
from tests.ui.served import Served


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


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for all tests, which leave it running."""
    made = Served(tmp_path_factory.mktemp("served").resolve() / "toy")
    yield made
    made.close()
