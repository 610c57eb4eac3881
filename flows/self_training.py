"""The loop as a Prefect flow: DVC's graph, one task a stage. What has to run, DVC decides; here it is run and shown."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from httpx import HTTPError
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from flows import approval, form, story, trial
from flows.pipeline import dag
from flows.pipeline.alone import alone
from flows.pipeline.ready import refuse_unready
from flows.pipeline.repro import ending, repro, warm_up
from flows.serving import alive, reports
from flows.serving.deployments import TRAINING
from tasks.errors import BUSY, HELD, OUR_BUG, UserError
from tasks.params import load

TRAINS = ("teacher", "baseline", "student")  # one at a time: they want the whole machine
TERMINATED = 128 + signal.SIGTERM
conclusion: ContextVar[Callable[[State[int]], object]] = ContextVar("conclusion")  # told first: the server may be gone
if TYPE_CHECKING:
    Form = form.Changes
else:
    Form = form.changes()
CANCEL_POLL = 3.0  # seconds between looks for a click on Cancel


class _CancelledOnRequest(Exception):
    """Somebody clicked on Cancel."""


def _can_retry(_task: Any, _run: Any, state: State[int]) -> bool:
    return state.data == BUSY


@task(task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=_can_retry)
async def run_stage(stage: str) -> State[int]:
    """Bring one stage up to date; a failure carries the stage's own words and its exit code."""
    logger, progress = get_run_logger(), story.Progress(stage)

    def log(line: str) -> None:
        (logger.error if line.startswith(("error [", "ERROR: ")) else logger.info)(line)
        progress.line(line)

    done = await repro(stage, Path.cwd(), log)
    await progress.end(whole=not done.exit_code)
    if done.exit_code:
        return Failed(message=done.message, data=done.exit_code)
    return Completed(name=done.skipped or "Completed", data=0)


@flow(name="self-training", persist_result=False, result_serializer="json")
async def self_training(
    stage: str | None = None,
    changes: Form = Form(),  # noqa: B008 - Prefect makes the form from it
) -> State[int]:
    """Run every stage that DVC finds out of date; with changes, an experiment that leaves the workspace as it was.

    Args:
        stage: Only this stage, for example student@r1, and what it needs. Empty: all stages.
        changes: Settings for this run alone, a DVC experiment of the run's name. Empty: those of params.yaml.
    """
    alive.hold(str(flow_run.get_id()))
    warm_up()
    name, found = str(flow_run.get_name()), form.settings_of(changes)
    try:
        if found:
            state = await _try_out(name, found, stage)
        else:
            with alone(name):
                state = await _until_decided(stage)
    except _CancelledOnRequest:
        state = Cancelled(message="cancelled on request", data=TERMINATED)
    except UserError as error:
        get_run_logger().error(str(error))
        state = Failed(message=str(error), data=error.exit_code)
    conclusion.get(_ignore)(state)
    if state.is_completed():
        await (story.tell(reports.EXPERIMENTS / name, name) if found else story.tell(Path.cwd()))
    return state


async def _try_out(name: str, found: dict[str, Any], stage: str | None) -> State[int]:
    """The state of an experiment; UserError when its settings are not sound."""
    if stage is not None:
        raise UserError("stage_and_changes", "an experiment runs all stages", "leave `stage` or `changes` empty")
    settings = form.refuse_wrong(found)
    refuse_unready(settings)
    told = "\n".join(form.arguments(found))
    get_run_logger().info(f"a DVC experiment called {name}, with\n{told}")
    work = asyncio.create_task(trial.run(name, form.arguments(found), settings))
    return (await _unless_cancelled([work]))[0]


async def _until_decided(stage: str | None) -> State[int]:
    """Bring everything up to date. Where a student waits for a person the run is suspended; it goes on from here."""
    if (flow_run.get_run_count() or 1) > 1:  # somebody answered
        for round_ in approval.asked(load()):
            await approval.decide(round_)
    state = await _bring_up_to_date(stage)
    while state.name == "Held" and (waiting := approval.asked(load())):
        await approval.decide(waiting[0])
        state = await _bring_up_to_date(stage)
    return state


async def _bring_up_to_date(stage: str | None) -> State[int]:
    """The state of the run, when everything is through or somebody cancelled it."""
    settings, graph = load(), dag.stages(Path.cwd())
    if stage is not None:
        graph = dag.needed_for(graph, stage)
    tries: Any = {"retries": settings.run.retries, "retry_delay_seconds": settings.run.retry_delay}
    work, alone_at_work = (  # Prefect's types miss that an async task with return_state is awaited
        cast(Callable[..., Awaitable[State[int]]], run_stage.with_options(tags=tags, **tries))
        for tags in ([], [TRAINING])
    )
    training = asyncio.Semaphore(1)
    running: dict[str, asyncio.Task[State[int]]] = {}

    async def one(name: str, needs: list[str]) -> State[int]:
        upstream = [await running[need] for need in needs]
        if name.partition("@")[0] not in TRAINS:
            return await work(name, wait_for=upstream, return_state=True)
        async with training:  # of this run; the server's limit of this name knows all runs
            return await alone_at_work(name, wait_for=upstream, return_state=True)

    for name, needs in graph:
        running[name] = asyncio.create_task(one(name, needs))
    states = await _unless_cancelled(list(running.values()))
    return await _conclude(dict(zip(running, states, strict=True)))


async def _unless_cancelled(work: list[asyncio.Task[State[int]]]) -> list[State[int]]:
    """Wait for all of it. However this ends, none of it is left at work."""
    watch = asyncio.create_task(_cancel_on_request(work))
    try:
        return await asyncio.gather(*work)
    except asyncio.CancelledError:
        if watch.done() and not watch.cancelled():
            raise _CancelledOnRequest from None
        raise
    finally:
        left = [watch, *work]
        for task_ in left:
            task_.cancel()
        await asyncio.gather(*left, return_exceptions=True)


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
        name = "Failed" if set(codes) != {HELD} else ending(next(iter(failed)), HELD)
        return Failed(name=name, message=message, data=codes[0] if isinstance(codes[0], int) else OUR_BUG)
    unchanged = sum(state.name == "Unchanged" for state in states.values())
    return Completed(message=f"{len(states)} stages up to date, {unchanged} of them unchanged", data=0)


def _ignore(_state: State[int]) -> None:
    return None
