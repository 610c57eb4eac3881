"""The loop as a Prefect flow: DVC's graph, one task a stage. What has to run, DVC decides; here it is run and shown."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from httpx import HTTPError
from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from flows import dag, results
from flows.repro import repro
from tasks.errors import BUSY, OUR_BUG
from tasks.params import load

TRAINING = ("teacher", "baseline", "student")  # one at a time: they want the whole machine
TERMINATED = 128 + signal.SIGTERM
conclusion: ContextVar[Callable[[State[int]], object]] = ContextVar("conclusion")  # told first: the server may be gone
CANCEL_POLL = 3.0  # seconds between looks for a click on Cancel


def _can_retry(_task: Any, _run: Any, state: State[int]) -> bool:
    return state.data == BUSY


@task(task_run_name="{stage}", tags=["dvc"], cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=_can_retry)
async def run_stage(stage: str) -> State[int]:
    """Bring one stage up to date; a failure carries the stage's own words and its exit code."""
    logger = get_run_logger()

    def log(line: str) -> None:
        (logger.error if line.startswith(("error [", "ERROR: ")) else logger.info)(line)

    done = await repro(stage, Path.cwd(), log)
    if done.exit_code:
        return Failed(message=done.message, data=done.exit_code)
    return Completed(name=done.skipped or "Completed", data=0)


@flow(name="self-training", persist_result=False, result_serializer="json")
async def self_training(stage: str | None = None) -> State[int]:
    """Run every stage that DVC finds out of date, or only `stage` and what it stands on."""
    settings, graph = load(), dag.stages(Path.cwd())
    if stage is not None:
        graph = dag.needed_for(graph, stage)
    work = cast(  # Prefect's types miss that an async task with return_state is awaited
        Callable[..., Awaitable[State[int]]],
        run_stage.with_options(retries=settings.run.retries, retry_delay_seconds=settings.run.retry_delay),
    )
    training = asyncio.Semaphore(1)
    running: dict[str, asyncio.Task[State[int]]] = {}

    async def one(name: str, needs: list[str]) -> State[int]:
        upstream = [await running[need] for need in needs]
        if name.partition("@")[0] not in TRAINING:
            return await work(name, wait_for=upstream, return_state=True)
        async with training:
            return await work(name, wait_for=upstream, return_state=True)

    for name, needs in graph:
        running[name] = asyncio.create_task(one(name, needs))
    watch = asyncio.create_task(_cancel_on_request(list(running.values())))
    try:
        states = dict(zip(running, await asyncio.gather(*running.values()), strict=True))
    except asyncio.CancelledError:
        if watch.done() and not watch.cancelled():
            return Cancelled(message="cancelled on request", data=TERMINATED)
        raise
    finally:
        left = [watch, *running.values()]
        for task_ in left:
            task_.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    state = await _conclude(states)
    conclusion.get(_ignore)(state)
    if state.is_completed():
        await _show_results(Path.cwd())
    return state


async def _cancel_on_request(stages: list[asyncio.Task[State[int]]]) -> None:
    """Stop the stages when somebody cancels the run in the UI: Prefect leaves that to us in a run of our own."""
    async with get_client() as client:
        while True:
            await asyncio.sleep(CANCEL_POLL)
            with suppress(HTTPError):
                state = (await client.read_flow_run(UUID(flow_run.get_id()))).state
                if state and (state.is_cancelling() or state.is_cancelled()):
                    break
    for stage in stages:
        stage.cancel()


async def _conclude(states: dict[str, State[int]]) -> State[int]:
    """The state of the run: what the failed stages said, or that all is done, with the results to look at."""
    failed = {name: state for name, state in states.items() if state.is_failed() or state.is_crashed()}
    if failed:
        message = "\n".join(f"{name}: {state.message}" for name, state in failed.items())
        codes = [await state.aresult(raise_on_failure=False) for state in failed.values()]
        return Failed(message=message, data=codes[0] if isinstance(codes[0], int) else OUR_BUG)
    unchanged = sum(state.name == "Unchanged" for state in states.values())
    return Completed(message=f"{len(states)} stages up to date, {unchanged} of them unchanged", data=0)


def _ignore(_state: State[int]) -> None:
    return None


async def _show_results(root: Path) -> None:
    for name, rows in results.tables(root).items():
        await acreate_table_artifact(rows, key=name, description=results.TITLES[name])
    if markdown := results.report_in_words(root):
        await acreate_markdown_artifact(markdown, key="report", description="The report of this run")
