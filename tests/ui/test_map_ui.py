"""The map of a review in the real App: its colours, points drawn around, and nobody asked but this machine."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tasks.params import load
from tests.conftest import ROOT, Project, free_port
from tests.review import digits
from tests.ui.browser import MARKS, SCREENSHOTS, app, screenshot

pytestmark = MARKS
IMAGES, BUDGET = 300, 60


def test_a_map_has_the_colours_of_its_workspace_and_asks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: Page
) -> None:
    """By class, round, reason and queue reason, as soon as it is there; what is drawn around is what the grid shows;
    every request goes to the App's own address."""
    monkeypatch.chdir(tmp_path)
    digits.make(tmp_path, IMAGES, 30, free_port(), kept=0.7)
    digits.see(load())
    asked: set[str] = set()
    page.on("requestfinished", lambda request: asked.add(urlsplit(request.url).netloc))
    page.on("requestfailed", lambda request: asked.add(f"{request.failure} {urlsplit(request.url).netloc}"))
    with app(Project(tmp_path), "understudy", "review", "--round", "r1", "--budget", str(BUDGET)) as address:
        plot = page.locator(".js-plotly-plot")
        for workspace, names in (
            ("map-by-round", ["r1", "none, or a rare one"]),
            ("map-by-reason", ["kept", "low_confidence"]),
            ("map-by-reason-queued", ["random", "none, or a rare one"]),
            ("map-by-class", list(digits.CLASSES)),
        ):
            page.goto(address.replace("workspace=review", f"workspace={workspace}"))
            for name in names:
                legend = plot.locator(".legendtext", has_text=re.compile(rf"^{name} \(\d+\)$"))
                expect(legend).to_be_visible()
            shown = [
                int(found)
                for found in re.findall(r"\((\d+)\)", " ".join(plot.locator(".legendtext").all_text_contents()))
            ]
            assert sum(shown) == IMAGES
        page.get_by_role("button", name="Dismiss").dispatch_event("click")
        if SCREENSHOTS:
            looker = page.locator("[data-cy=fo-grid] [data-cy=looker]")
            expect(looker.nth(5).locator("canvas[canvas-loaded=true]")).to_be_visible()
            screenshot(page, ROOT / "docs/images/review-map.png")
        _draw_around(page, plot.locator(".nsewdrag"))
        counted = page.locator("[data-cy=entry-counts]")
        expect(counted).to_have_text(re.compile(r"^\d+ samples?$"))
        expect(counted).not_to_have_text(re.compile(rf"^({IMAGES}|{BUDGET}) samples$"))
        port = urlsplit(address).netloc
    elsewhere = {what for what in asked if what and port not in what}
    assert all(what.startswith("csp ") for what in elsewhere), elsewhere  # asked for, and refused by the browser


def _draw_around(page: Page, field: Locator) -> None:
    """Draw around the left half of the points."""
    box = field.bounding_box()
    assert box is not None
    corners = [(0.02, 0.02), (0.5, 0.02), (0.5, 0.98), (0.02, 0.98), (0.02, 0.02)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()
