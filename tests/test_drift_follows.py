"""What follows from drift: its part of the report, the student that waits for it, and all of it through DVC."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks import files, report
from tasks.errors import UserError
from tasks.params import load
from tasks.sections import drift as section
from tasks.sections.material import Material
from tasks.stage import Stage
from tasks.student import student
from tests import fabricated
from tests.conftest import Project
from tests.drifting import FOREIGN, HELD, POOL, ids, outputs, run_drift, write


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder with the project's settings."""
    monkeypatch.chdir(tmp_path)
    fabricated.settings()


def test_the_report_says_what_was_compared_and_what_was_not() -> None:
    """An alarm in words, every comparison with its numbers, flips by class; without a reference `not measured`."""
    write(outputs(ids(0, 600), 4, sure=FOREIGN))
    run_drift()
    run = Material(Stage("report", load(), ()), ["r1", "r2"], ["digits"], {}, {}, {})
    content = section.section(run)
    assert content is not None
    page = report.render("title", {"drift": content})
    assert "r1: <b>not measured</b>" in page
    assert "first run: nothing to compare with" in page
    new = outputs(ids(1000, 50), 7, sure=FOREIGN)
    write(POOL | new, dict.fromkeys(new, "web"), held=HELD)
    run_drift(action="report", max_confident_flips=1.0)
    content = section.section(run)
    assert content is not None
    assert [row["name"] for row in content["groups"]].count("source web") == 2, "beside labels and beside the pool"
    page = report.render("title", {"drift": content})
    assert re.search(r"at least \d\d% of the source &#39;web&#39; \(50 images\) look foreign", page)
    ((_, runs, relabel),) = content["runs"]
    assert (runs, relabel["flips"]) == (2, sum(row["left"] for row in content["classes"]))
    assert "<svg" in page
    assert "not measured" not in page


def test_a_student_refuses_labels_that_were_not_cleared() -> None:
    """Labels that changed after drift looked at them train nothing, even where DVC is bypassed."""
    write(POOL)
    run_drift()
    shutil.rmtree(files.labels("r1"))
    fabricated.label_table("r1", dict.fromkeys(POOL, ("ant", 0.9, "kept")))
    fabricated.images(3)
    with pytest.raises(UserError, match="has not looked at the labels"):
        student(Stage("student@r1", load(), ()), "r1")


def test_a_pool_that_grows_by_a_foreign_source_is_held_through_dvc(project: Project) -> None:
    """`dvc repro` ends at drift@r1 and trains no student; a run without news changes no byte; without the source all is
    as it was, and a limit that changed meanwhile trains no student either."""
    drift = project.folder / files.drift("r1")
    content = {p.name: files.sha256_file(p) for p in drift.iterdir()}
    done = project.run("dvc", "repro", "-f", "-s", "drift@r1")
    assert done.returncode == 0, done.stderr
    assert {p.name: files.sha256_file(p) for p in drift.iterdir()} == content, "a rerun changed something"

    pool = project.folder / "web/pool"
    pool.mkdir(parents=True)
    for n in range(150):
        noise = np.random.default_rng(n).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(noise).save(pool / f"{n}.png")
    project.edit(lambda raw: raw["sources"].update(web={"kind": "folder", "path": "web"}))
    held = project.run("dvc", "repro", "student@r1")
    assert held.returncode != 0
    assert "the new images of the source 'web' (150 images) look foreign" in held.stderr
    assert "Running stage 'student@r1'" not in held.stdout

    project.edit(lambda raw: raw["sources"].pop("web"))
    project.edit(lambda raw: raw["drift"].update(max_shift=0.2))
    assert project.repro("student@r1") == ["split", "drift@r1"]
    content.pop(files.MANIFEST)  # it names the settings, and one is another now
    assert {name: files.sha256_file(drift / name) for name in content} == content
