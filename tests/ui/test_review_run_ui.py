"""The flow `review` under `understudy serve` to its end: queue, wait, corrections, and the run that follows.

No browser: the server is asked as its pages ask it; a click is a tag, as the plugin sets it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import Project
from tests.flows.conftest import eventually
from tests.review.conftest import Workspace, workspace
from tests.ui.serving import Serving

__all__ = ["workspace"]
pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
SAY = """
from tasks.review import database
data = database.connect().load_dataset("understudy-r1")
sample = data.first()
new = next(name for name in data.label_schemas["review"]["classes"] if name != sample.review.label)
sample.tags.append("class:" + new)
sample.save()
print("said", sample.image_id, new)
"""


LEARNS = {
    "foreach": ["r1"],
    "do": {
        "cmd": "exec cp data/decisions/${item}.csv learnt-${item}",
        "deps": ["data/decisions/${item}.csv"],
        "outs": ["learnt-${item}"],
    },
}


@pytest.fixture
def serving(workspace: Workspace) -> Iterator[Serving]:
    """Two rounds of labels, a stage that reads the decisions of r1, served."""
    folder = Path(workspace.folder).resolve()
    (folder / "dvc.yaml").write_text(
        yaml.dump({"stages": {"curate": LEARNS}}, Dumper=yaml.CSafeDumper, sort_keys=False)
    )
    project = Project(folder)
    project.env |= {"PREFECT_HOME": str(folder / ".prefect")}
    assert project.run("dvc", "init", "-q", "--no-scm").returncode == 0
    made = Serving(project)
    yield made
    made.close()


def test_a_review_waits_for_people_and_goes_on_with_what_they_said(serving: Serving) -> None:
    """A round that is none ends it. The queue is there, nobody works while it waits, a name of blanks is asked again;
    what was clicked comes into the ledger under the name that was given, and the run that follows learns from it."""
    project = serving.project
    assert "error [" in serving.ends(serving.begin("review", round="r9"), "Failed")["message"]
    run = serving.begin("review", round="r1", budget=20)
    serving.ends(run, "Suspended")
    assert serving.alert("waiting", run)["flow"] == "review"
    assert "understudy review --round r1" in serving.server.artifacts(run)["review-r1"]
    eventually(lambda: not [command for command in project.alive() if "prefect.engine" in command])
    clicked = project.run("python", "-c", SAY)
    assert clicked.returncode == 0, clicked.stderr
    image_id, new = clicked.stdout.splitlines()[-1].removeprefix("said ").split(maxsplit=1)
    assert serving.resume(run, who="") == "REJECT"
    assert serving.resume(run, who="   ") == "ACCEPT"
    eventually(lambda: any("asked again" in line for line in serving.server.log(run)), 120)
    serving.ends(run, "Suspended")
    assert serving.resume(run, who="ada") == "ACCEPT"
    message = serving.ends(run, "Completed")["message"]

    asked = {"flows": {"name": {"any_": ["self-training"]}}}
    follows = next(found for found in serving.server.post("flow_runs/filter", asked) if found["name"] in message)
    serving.ends(follows["id"], "Completed")
    assert serving.server.tasks(follows["id"]) == {"curate@r1": "Completed"}
    learnt = (project.folder / "learnt-r1").read_text().splitlines()
    assert [line for line in learnt if line.startswith(image_id) and new in line and ",ada," in line]
