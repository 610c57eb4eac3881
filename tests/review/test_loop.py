"""A correction through the whole loop, as a labeler and `dvc repro` see it: own processes, real mongod, real DVC."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Project

SAY = """
from tasks.params import load
from tasks.review import database, session
built = session.build("r1", load())
data = database.connect().load_dataset(built.name)
sample = data.load_saved_view("least confident kept").first()
new = next(name for name in data.label_schemas["review"]["classes"] if name != sample.review.label)
sample.tags.append("class:" + new)
sample.save()
print(session.sync("r1", "Ada"))
print("said", sample.image_id, new)
"""
SHOW = """
import sys
from tasks.params import load
from tasks.review import database, session
for round_ in ("r1", "r2"):
    session.build(round_, load())
    data = database.connect().load_dataset("understudy-" + round_)
    sample = data.match({"image_id": sys.argv[1]}).first()
    print("shown", sample.review.label, sample.decision, sep="|")
"""


@pytest.mark.timeout(400)  # it may be the first to need the finished project
def test_a_human_label_wins_in_every_later_round_and_outlives_the_database(project: Project) -> None:
    """Relabel in r1, sync, `dvc repro`: it stands in the tables of r1 and r2, and is shown after `rm -r .fiftyone`."""
    image_id, new = _lines(project, "said ", SAY)[0].split()
    between = ["drift@r1", "student@r1", "gate@r1", "label@r2"]
    assert project.repro("curate@r2") == ["curate@r1", *between, "curate@r2"]
    for round_ in ("r1", "r2"):
        table = pd.read_parquet(project.folder / f"data/labels/{round_}/labels.parquet").set_index("image_id")
        row = table.loc[image_id]
        assert (row["label"], row["source"], row["reason"]) == (new, "human", "human_label")
        assert row["copies"] >= 1
    assert project.repro("curate@r2") == []

    shutil.rmtree(project.folder / ".fiftyone", ignore_errors=True)
    shutil.rmtree(project.folder / ".work/review")
    assert _lines(project, "shown|", SHOW, image_id) == [
        f"{new}|relabel: {new}",
        f"{new}|earlier round: relabel: {new}",
    ]


def _lines(project: Project, prefix: str, script: str, *args: str) -> list[str]:
    path = Path(project.folder) / ".work/step.py"
    path.write_text(script)
    done = project.run("python", "-c", f"import runpy; runpy.run_path({str(path)!r})", *args)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.removeprefix(prefix) for line in done.stdout.splitlines() if line.startswith(prefix)]
