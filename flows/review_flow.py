"""People look at a round's labels and the loop goes on: queue, wait, bring the corrections, run what follows from them.

While it waits the run is suspended: no process is left, and it continues after days or a restart. What was clicked
until the answer comes is in the ledger afterwards.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.deployments import arun_deployment
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from tasks import files

WAIT = """\
The labels of **{round_}** are ready to be looked at:

```
cd {folder}
understudy review --round {round_}
```

Name classes, accept, reject; then *Resume* this run. It brings what was decided into `data/decisions/{round_}.csv` and
runs what follows from it.
"""


class Reviewed(RunInput):
    """The labels were looked at."""

    who: str = Field(min_length=1, description="Your name, for the ledger.")


@flow(name="review", persist_result=False, result_serializer="json")
async def review(round: str = "r1", budget: int = 200) -> State[Any]:
    """Make the queue of a round, wait for people, bring their corrections and go on.

    Args:
        round: Whose labels to look at.
        budget: How many images to show.
    """
    asked = ["--round", round]
    built = files.WORK / "review-runs" / str(flow_run.get_id())
    if not built.exists():  # the answer brings the run back from the top: what was clicked meanwhile stays as it is
        if problem := _understudy("review", *asked, "--budget", str(budget), "--no-app"):
            return problem
        text = WAIT.format(round_=round, folder=Path.cwd())
        await acreate_markdown_artifact(text, key=f"review-{round}", description="What there is to do")
        built.parent.mkdir(parents=True, exist_ok=True)
        built.touch()
    form = Reviewed.with_initial_data(description=WAIT.format(round_=round, folder=Path.cwd()))
    said = await asuspend_flow_run(wait_for_input=form, key=f"review-{round}")
    if problem := _understudy("review", *asked, "--sync", "--who", said.who):
        return problem
    run = await arun_deployment("self-training/self-training", timeout=0)
    return Completed(message=f"the run {run.name} does what follows from it", data=0)


def _understudy(*arguments: str) -> State[Any] | None:
    """Run a command, its output into the log; a state when it fails."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "understudy"), *arguments], capture_output=True, text=True, check=False
    )
    for line in (done.stdout + done.stderr).splitlines():
        get_run_logger().info(line)
    return Failed(message=done.stderr.strip(), data=done.returncode) if done.returncode else None
