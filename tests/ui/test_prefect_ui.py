"""A run as a person sees it: the real server, the real flow, a real browser."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.conftest import ROOT, Project
from tests.flows.conftest import UNDERSTUDY, Server, Stages, Toy, database, eventually, server
from tests.ui.browser import MARKS, PATIENCE, SCREENSHOTS

__all__ = ["database", "server"]
pytestmark = MARKS
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


def _toy(folder: Path) -> Toy:
    """The shape of the loop, with results to show."""
    toy = Toy(folder, LOOP)
    _results(toy.folder)
    return toy


def _results(folder: Path) -> None:
    """Small files as the stages write them."""
    metrics = folder / "data/metrics"
    metrics.mkdir(parents=True)
    (metrics / "evaluate-r1.json").write_text(json.dumps({"test": TEST}))
    (metrics / "curate-r1.json").write_text(json.dumps({"reasons": {"kept": 1269, "low_confidence": 78}}))
    (metrics / "report.json").write_text(json.dumps({"headline": "Self-training helped."}))
    (folder / "data/report").mkdir()
    (folder / "data/report/report.html").write_text("<!doctype html><title>Report</title><p>The whole story")
    scores = folder / "data/scores/r1"
    scores.mkdir(parents=True)
    pairs = [(str(i % 10), str((i + (i % 23 == 0)) % 10)) for i in range(400)]
    (scores / "confusion.csv").write_text("actual,predicted\n" + "".join(f"{a},{p}\n" for a, p in pairs))


def _log_in(page: Page, server: Server) -> None:
    """As a person does: open the pages, paste the line of the token's file."""
    page.goto(server.pages)
    page.locator("input").first.fill(server.token)
    page.get_by_role("button", name="Login").click()
    expect(page.get_by_text("Deployments", exact=True).first).to_be_visible(timeout=PATIENCE)


def test_a_run_is_seen_in_the_browser(tmp_path: Path, server: Server, page: Page) -> None:
    """The run by its name, each stage with its state and the table of results are on the pages of the server."""
    toy = _toy(tmp_path / "toy")
    toy.env |= server.env
    done = toy.run(UNDERSTUDY, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    run = server.last_run()
    eventually(lambda: server.tasks(run["id"]) == dict.fromkeys(LOOP, "Completed"))

    _log_in(page, server)
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


def _field(page: Page, description: str, not_with: str) -> Locator:
    """The field of the form with that description, without the sections around it."""
    fields = page.locator(".schema-form-property", has=page.get_by_text(description, exact=True))
    return fields.filter(has_not=page.get_by_text(f"{not_with} (Optional)", exact=True)).first.locator("input")


def _submit(page: Page) -> tuple[int, dict[str, Any], str]:
    """Click; the server's status, what the page had sent, and the id of the run where there is one."""
    with page.expect_response(lambda answer: answer.url.endswith("/create_flow_run")) as answered:
        page.get_by_role("button", name="Submit").click()
    sent: dict[str, Any] = answered.value.request.post_data_json
    return answered.value.status, sent, str(answered.value.json().get("id"))


def test_a_run_is_started_with_the_form_and_tells_its_story(server: Server, page: Page) -> None:
    """Nobody can look without logging in. An untouched form changes nothing; a value out of range is refused; a setting
    makes an experiment of the run's name. A run's page has its pictures and a report that the browser opens."""
    _results(server.project.folder)
    _log_in(page, server)
    deployment = server.get("deployments/name/self-training/self-training")["id"]
    form = f"{server.pages}/deployments/deployment/{deployment}/run"
    page.goto(form)
    steps = _field(page, "Optimiser steps. (whole number from 1; params.yaml: 300)", not_with="dropout")
    expect(steps).to_be_visible(timeout=PATIENCE)
    if SCREENSHOTS:
        page.screenshot(path=ROOT / "docs/images/prefect-form.png")
    steps.fill("0")
    assert _submit(page)[0] == 409
    expect(page.get_by_text("less than the minimum of 1").first).to_be_visible(timeout=PATIENCE)
    steps.fill("7")
    status, sent, run = _submit(page)
    assert (status, sent["parameters"]["changes"]) == (201, {"teacher": {"steps": 7}})
    name = sent["name"]
    eventually(lambda: f"experiment {name}" in str(server.get(f"flow_runs/{run}")["state"]["message"]), 240)
    assert "refs/exps" in server.project.run("git", "for-each-ref", f"refs/exps/*/*/{name}").stdout

    page.goto(form)
    status, sent, run = _submit(page)
    assert (status, sent["parameters"].get("changes") or {}) == (201, {})
    eventually(lambda: server.get(f"flow_runs/{run}")["state"]["type"] == "COMPLETED", 300)
    page.goto(f"{server.pages}/runs/flow-run/{run}")
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("confusion", exact=True).first.click()
    picture = page.locator('img[src^="data:image/svg"]')
    expect(picture).to_be_visible(timeout=PATIENCE)
    assert picture.evaluate("image => image.naturalWidth") > 300
    page.go_back()
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("report-link", exact=True).first.click()
    link = page.get_by_role("link", name="The report")
    expect(link).to_be_visible(timeout=PATIENCE)
    user, secret = server.token.split(":")
    assert page.context.browser
    fresh = page.context.browser.new_context(http_credentials={"username": user, "password": secret}).new_page()
    fresh.goto(str(link.get_attribute("href")))
    expect(fresh.get_by_text("The whole story")).to_be_visible()


@pytest.mark.skipif(not SCREENSHOTS, reason="makes docs/images/prefect.png")
def test_the_readmes_picture(fresh_project: Project, tmp_path: Path, server: Server, page: Page) -> None:
    """The project's own loop, its nets trained for a few steps, on the page of its run."""
    project = fresh_project.copy(tmp_path / "project")
    project.env |= server.env
    done = project.run(UNDERSTUDY, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    run = server.last_run()
    _log_in(page, server)
    page.goto(f"{server.pages}/runs/flow-run/{run['id']}")
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("Beginning flow run").first).to_be_visible(timeout=PATIENCE)
    page.wait_for_timeout(5000)  # the graph is a canvas: nothing in it can be waited for
    (ROOT / "docs/images").mkdir(exist_ok=True)
    page.screenshot(path=ROOT / "docs/images/prefect.png")
