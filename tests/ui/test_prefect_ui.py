"""A run as a person sees it: the real server, the real flow, a real browser."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.conftest import ROOT, Project
from tests.flows.conftest import UNDERSTUDY, Server, Stages, Toy, database, eventually, server
from tests.ui.browser import CHROMIUM, FLAGS

__all__ = ["database", "server"]
SCREENSHOTS = os.environ.get("UNDERSTUDY_SCREENSHOTS") == "1"
pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200 if SCREENSHOTS else 400)]
PATIENCE = 90_000  # milliseconds
LOOP: Stages = {
    "ingest": ("ok", []),
    "split": ("ok", ["ingest"]),
    "teacher": ("ok", ["split"]),
    "baseline": ("ok", ["split"]),
    "label-r1": ("ok", ["teacher"]),
    "curate-r1": ("ok", ["label-r1"]),
    "student-r1": ("ok", ["curate-r1", "teacher"]),
    "evaluate-r1": ("ok", ["student-r1", "baseline"]),
    "report": ("ok", ["evaluate-r1"]),
}
TEST = {
    "n": 400,
    "teacher": {"accuracy": 0.91, "low": 0.88, "high": 0.935},
    "student": {"accuracy": 0.97, "low": 0.95, "high": 0.984},
    "baseline": {"accuracy": 0.92, "low": 0.891, "high": 0.943},
}


@pytest.fixture
def page() -> Iterator[Page]:
    """An empty page of a headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


def _toy(folder: Path) -> Toy:
    """The shape of the loop, with results to show."""
    toy = Toy(folder, LOOP)
    metrics = toy.folder / "data/metrics"
    metrics.mkdir(parents=True)
    (metrics / "evaluate-r1.json").write_text(json.dumps({"test": TEST}))
    (metrics / "curate-r1.json").write_text(json.dumps({"reasons": {"kept": 1269, "low_confidence": 78}}))
    return toy


def test_a_run_is_seen_in_the_browser(tmp_path: Path, server: Server, page: Page) -> None:
    """The run by its name, each stage with its state and the table of results are on the pages of the server."""
    toy = _toy(tmp_path / "toy")
    toy.env |= server.env
    done = toy.run(UNDERSTUDY, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    run = server.last_run()
    eventually(lambda: server.tasks(run["id"]) == dict.fromkeys(LOOP, "Completed"))

    page.goto(f"{server.pages}/runs/flow-run/{run['id']}")
    expect(page.get_by_text(run["name"], exact=True).first).to_be_visible(timeout=PATIENCE)
    page.get_by_text("Task Runs", exact=True).click()
    for stage in LOOP:
        line = page.locator(".state-list-item", has=page.get_by_text(stage, exact=True))
        expect(line.get_by_text("Completed", exact=True)).to_be_visible(timeout=PATIENCE)

    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("accuracy", exact=True).first.click()
    expect(page.get_by_text("0.970 (0.950-0.984)")).to_be_visible(timeout=PATIENCE)
    page.go_back()
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("labels", exact=True).first.click()
    expect(page.get_by_text("1269")).to_be_visible(timeout=PATIENCE)


@pytest.mark.skipif(not SCREENSHOTS, reason="makes docs/images/prefect.png")
def test_the_readmes_picture(fresh_project: Project, tmp_path: Path, server: Server, page: Page) -> None:
    """The project's own loop on the page of its run."""
    project = fresh_project.copy(tmp_path / "project")
    shutil.copy(ROOT / "params.yaml", project.folder)
    project.env |= server.env
    done = project.run(UNDERSTUDY, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    run = server.last_run()
    page.goto(f"{server.pages}/runs/flow-run/{run['id']}")
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("Beginning flow run").first).to_be_visible(timeout=PATIENCE)
    page.wait_for_timeout(5000)  # the graph is a canvas: nothing in it can be waited for
    (ROOT / "docs/images").mkdir(exist_ok=True)
    page.screenshot(path=ROOT / "docs/images/prefect.png")
