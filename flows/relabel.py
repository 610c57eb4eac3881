"""The flow `relabel`: new images get labels from the net there is, by a schedule or by hand. It trains nothing.

Runs that were missed while nothing was up are one run: whichever starts first cancels the others that are due, for it
sees all files there are now.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.deployments.flow_runs import arun_deployment
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Completed, Failed

from flows.pipeline.alone import alone
from flows.pipeline.repro import Outcome, warm_up
from flows.refresh import Refreshed, refresh
from flows.self_training import run_stage
from flows.serving import alive
from flows.serving.deployments import SELF_TRAINING
from tasks.errors import BUSY, OUR_BUG, Busy, UserError
from tasks.params import Settings, load


@flow(name="relabel", persist_result=False, result_serializer="json")
async def relabel() -> State[int]:
    """Label what is new; nothing new: end within seconds and touch nothing."""
    alive.hold(str(flow_run.get_id()))
    warm_up()
    logger = get_run_logger()
    try:
        await _cover_what_was_missed()
        settings = load()
        with alone(f"relabel {flow_run.get_name()}"):
            done = await refresh(Path.cwd(), settings, _stage, logger.info)
    except Busy as error:
        return Cancelled(name="Skipped", message=f"skipped: {error.what}", data=BUSY)
    except UserError as error:
        logger.error(str(error))
        return Failed(message=str(error), data=error.exit_code)
    return await _conclude(done, settings)


async def _stage(stage: str) -> Outcome:
    """One stage as a task on the run's page."""
    done: Any = run_stage(stage, return_state=True)
    state = await done
    code = await state.aresult(raise_on_failure=False)
    return Outcome(code if isinstance(code, int) else OUR_BUG, state.message or "", "" if code else state.name)


async def _conclude(done: Refreshed, settings: Settings) -> State[int]:
    if done.exit_code:
        return Failed(name=done.name, message=done.message, data=done.exit_code)
    if done.name == "Relabeled":
        row = {"round": done.round, "predicted": done.predicted, "pool": done.images, "out of date": len(done.stale)}
        await acreate_table_artifact([row], key="relabel", description=done.message)
    if not done.due:
        return Completed(name=done.name.replace(" ", ""), message=done.message, data=0)
    if settings.relabel.retrain == "grown":
        await arun_deployment(SELF_TRAINING, timeout=0, as_subflow=False)
        done.message += f"\nstarted {SELF_TRAINING} (relabel.retrain: grown)"
    return Completed(name="TrainingDue", message=done.message, data=0)


async def _cover_what_was_missed() -> None:
    if deployment.id:
        async with get_client() as client:
            await cancel_missed(client, UUID(deployment.id), f"covered by {flow_run.get_name()}", 0)


async def cancel_missed(client: PrefectClient, of: UUID, why: str, keep: int) -> int:
    """Cancel scheduled runs of a deployment that are due, but for the `keep` latest; how many those were."""
    scheduled = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=scheduled),
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[of])),
        limit=200,
    )
    now = datetime.now(UTC)
    due = [run for run in runs if run.auto_scheduled and run.expected_start_time and run.expected_start_time <= now]
    due.sort(key=lambda run: str(run.expected_start_time))
    missed = due[: len(due) - keep]
    for run in missed:
        await client.set_flow_run_state(run.id, Cancelled(name="Skipped", message=f"missed; {why}"), force=True)
    return len(missed)
