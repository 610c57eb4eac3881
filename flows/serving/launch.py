"""`understudy run`: settings first, then a server to report to, then the flow; a stage's exit code is ours."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from flows.pipeline import dag
from flows.pipeline.ready import refuse_unready
from flows.pipeline.repro import warm_up
from flows.serving import server
from tasks.errors import OUR_BUG, Busy
from tasks.params import load


def launch(stage: str | None) -> int:
    """Run the flow on the project in the working directory; returns the exit code of the first stage that failed.

    Raises UserError for wrong settings, a missing source or ledger, a wrong dvc.yaml or an unknown stage,
    before anything is started.
    """
    refuse_unready(load())
    graph = dag.stages(Path.cwd())
    if stage is not None:
        dag.needed_for(graph, stage)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_stopped(signal.SIGTERM)))
    try:
        return _launch(stage)
    except KeyboardInterrupt:
        return _stopped(signal.SIGINT)


def _launch(stage: str | None) -> int:
    warm_up()
    home = server.prepare(Path.cwd())
    api = server.find(home)
    print(
        f"reporting to {server.pages_of(api)}" if api else "no Prefect server found: one starts for this run",
        flush=True,
    )
    os.environ["PREFECT_API_URL"] = api or server.start(home)[1]

    from httpx import HTTPError
    from prefect.exceptions import TerminationSignal

    from flows import self_training
    from flows.serving import alive

    told: list[Any] = []

    async def flow() -> None:
        self_training.conclusion.set(told.append)
        told.append(await self_training.self_training(stage, return_state=True))
        alive.forget()

    try:
        asyncio.run(flow())
    except TerminationSignal:
        return _stopped(signal.SIGTERM)
    except HTTPError as error:
        if not told:
            what = f"{os.environ['PREFECT_API_URL']} went away: {error}"
            raise Busy("no_server", what, "run the same command again: it continues") from None
        print("warning: the Prefect server went away; its record of this run is not complete", file=sys.stderr)
    state = told[-1]
    print(state.message, file=sys.stdout if state.is_completed() else sys.stderr, flush=True)
    code = state.result(raise_on_failure=False)
    return code if isinstance(code, int) else OUR_BUG


def _stopped(by: signal.Signals) -> int:
    print(f"stopped by {by.name}: no stage is left running; the same command continues", file=sys.stderr, flush=True)
    return 128 + by
