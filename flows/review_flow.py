"""People look at a round's labels and the loop goes on: queue, wait, bring the corrections, run what follows from them.

While it waits the run is suspended: no process is left, and it continues after days or a restart. What was clicked
until the answer comes is in the ledger afterwards. An answer that cannot be is asked again.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from itertools import count
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.deployments.flow_runs import arun_deployment
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows.pipeline import supervisor
from flows.pipeline.repro import lines_of
from flows.serving import alive
from flows.serving.deployments import SELF_TRAINING
from tasks import files
from tasks.errors import BAD_INPUT, BUSY

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
    alive.hold(str(flow_run.get_id()))
    built = files.WORK / "review-runs" / str(flow_run.get_id())
    if not built.exists():  # the answer brings the run back from the top: what was clicked meanwhile stays as it is
        code, said = await _understudy("review", "--round", round, "--budget", str(budget), "--no-app")
        if code:
            return Failed(message=said, data=code)
        text = WAIT.format(round_=round, folder=Path.cwd())
        await acreate_markdown_artifact(text, key=f"review-{round}", description="What there is to do")
        built.parent.mkdir(parents=True, exist_ok=True)
        built.touch()
    code, said = await _bring_what_was_said(round)
    if code:
        return Failed(message=said, data=code)
    run = await arun_deployment(SELF_TRAINING, timeout=0, as_subflow=False)
    return Completed(message=f"{said}\nthe run {run.name} does what follows from it", data=0)


async def _bring_what_was_said(round_: str) -> tuple[int, str]:
    """Suspend the run until somebody looked, then write it into the ledger; exit code and last line of that.

    The first time this does not return: the process ends. It runs again when there is an answer.
    """
    problem = ""
    for attempt in count():
        form = Reviewed.with_initial_data(description=problem + WAIT.format(round_=round_, folder=Path.cwd()))
        person = await asuspend_flow_run(wait_for_input=form, key=f"review-{round_}-{attempt}")
        code, said = await _understudy("review", "--round", round_, "--sync", "--who", person.who)
        if code not in {BAD_INPUT, BUSY}:
            break
        problem = f"**Not possible: {said}**\n\n"
        get_run_logger().warning("asked again: %s", said)
    return code, said


async def _understudy(*arguments: str) -> tuple[int, str]:
    """Run a command, its output into the log; its exit code, and its error or else its last line. None outlives us."""
    command = supervisor.command(str(Path(sys.executable).parent / "understudy"), *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=STDOUT, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines = []
    try:
        async for line in lines_of(process.stdout):
            get_run_logger().info(line)
            lines.append(line)
        code = await process.wait()
    finally:
        process.stdin.close()
        await process.wait()
    begins = [i for i, line in enumerate(lines) if line.startswith("error [")]
    return code, "\n".join(lines[begins[-1] if begins else -1 :])
