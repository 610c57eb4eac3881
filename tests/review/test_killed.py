"""mongod killed: what was acknowledged is there."""

from pathlib import Path

import pytest

from tasks import decisions
from tests.conftest import Project
from tests.review import digits

IMAGES, EACH = 1000, 50
SAY = """
import os, signal
from pathlib import Path
import psutil
from tasks.params import load
from tasks.review import clicks, database, session
data = database.connect().load_dataset(session.build("r1", load()).name)
samples = data.sort_by("image_id").values("id")
for first in range(0, len(samples) // 2, 50):
    clicks.decide(data, samples[first : first + 50], "class", str(first // 50 % 10), who="Ada")
for first in range(len(samples) // 2, len(samples), 50):
    data.select(samples[first : first + 50]).tag_samples("reject")
ours = [p for p in psutil.process_iter(["name", "cmdline"]) if p.info["name"] == "mongod"
        and str(Path.cwd()) in " ".join(p.info["cmdline"])]
[mongod] = ours
os.kill(mongod.pid, signal.SIGKILL)
print("killed", flush=True)
os._exit(0)
"""


@pytest.mark.timeout(400)
def test_a_thousand_acknowledged_decisions_outlive_a_killed_mongod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 clicks of the plugin and 500 of FiftyOne's own tags, then kill -9 at once: a sync finds all of them."""
    monkeypatch.chdir(tmp_path)
    digits.make(tmp_path, IMAGES, 0, 5151)
    project = Project(tmp_path)
    (tmp_path / "say.py").write_text(SAY)
    done = project.run("python", "-c", "import runpy; runpy.run_path('say.py')")
    assert "killed" in done.stdout, done.stdout + done.stderr
    done = project.run("understudy", "review", "--round", "r1", "--sync", "--who", "Ada")
    assert done.returncode == 0, done.stdout + done.stderr
    said = decisions.read(tmp_path / "data/decisions/r1.csv")
    assert len({decision.image_id for decision in said}) == IMAGES
    assert sum(decision.action == "reject" for decision in said) == IMAGES // 2
