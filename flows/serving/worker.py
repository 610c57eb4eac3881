"""`python -m flows.serving.worker`: make the deployments known to the server, run what it hands out.

A run is a process of its own in this process's group: whoever ends the group ends the runs. Who ends the worker alone,
with SIGTERM, ends them too, and the server is told.
"""

import asyncio
import signal
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

from anyio.abc import TaskStatus
from httpx import HTTPError
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, FlowRun
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.types.entrypoint import EntrypointType
from prefect.workers.process import ProcessWorker, ProcessWorkerResult

from flows.relabel import cancel_missed
from flows.serving import alerts, resume
from flows.serving.alive import bury, claim, keep_burying
from flows.serving.deployments import DEPLOYMENTS, POOL, RELABEL, TRAINING, Deployment, scheduled
from tasks.params import load

# A run waits this often for a server that is being started again: 2, 4, 8, 16, 32 s.
PATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "5"}


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Prefect says that it has a worker for processes already

    class Worker(ProcessWorker):
        """A worker whose death is seen: it claims what it hands out until the run's own process does."""

        async def _submit_run(self, flow_run: FlowRun) -> None:
            with claim(str(flow_run.id)):  # Prefect's own method: the only place before the server shows it as Pending
                await super()._submit_run(flow_run)

        async def run(
            self, flow_run: FlowRun, configuration: Any, task_status: TaskStatus[int] | None = None
        ) -> ProcessWorkerResult:
            """Start the run's process and wait for its end."""
            with claim(str(flow_run.id)):
                return await super().run(flow_run, configuration, task_status)


async def main() -> None:
    """Register, then work until somebody stops it."""
    if (this := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with get_client() as client:
        await make_limit(client)
        await _make_pool(client)
    settings = load()
    for deployment in scheduled(settings.schedule):
        known = await register(deployment)
        if deployment.name == RELABEL.name:
            await _catch_up(known)
        print(f"deployed {deployment.name}", flush=True)
    async with get_client() as client:
        flows = sorted({deployment.flow.rsplit(".", 1)[1].replace("_", "-") for deployment in DEPLOYMENTS})
        await alerts.renew(client, alerts.webhook(settings), flows)
        api = str(client.api_url)
    watches = [asyncio.create_task(watch) for watch in (keep_burying(), resume.keep_resuming(api))]
    worker = Worker(work_pool_name=POOL, name=POOL, prefetch_seconds=1)
    try:
        await worker.start(printer=lambda text: print(text, flush=True))
    finally:
        for watch in watches:
            watch.cancel()
        with suppress(HTTPError):
            async with get_client() as client:
                await bury(client)


async def make_limit(client: PrefectClient) -> None:
    """One training at a time, whichever run wants it."""
    try:
        await client.read_concurrency_limit_by_tag(TRAINING)
    except ObjectNotFound:
        await client.create_concurrency_limit(TRAINING, 1)


async def _make_pool(client: PrefectClient) -> None:
    template = ProcessWorker.get_default_base_job_template()
    with suppress(ObjectAlreadyExists):
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))


async def _catch_up(deployment: UUID) -> None:
    """Of the runs that were due while nothing was up, one is left."""
    async with get_client() as client:
        missed = await cancel_missed(client, deployment, "one run catches up", 1)
    if missed:
        print(f"{missed} missed runs of {RELABEL.name} are skipped; one catches up", flush=True)


async def register(deployment: Deployment) -> UUID:
    """Make one deployment, or renew it: form, description and schedule are those of the code. Its id."""
    module, name = deployment.flow.rsplit(".", 1)
    flow: Any = getattr(import_module(module), name)
    schedules = []
    if deployment.cron:
        schedules = [CronSchedule(cron=deployment.cron, timezone=deployment.timezone)]
    known = await flow.ato_deployment(
        name=deployment.name,
        description=deployment.about,
        parameters=deployment.parameters,
        schedules=schedules,
        concurrency_limit=_limit(deployment),
        entrypoint_type=EntrypointType.MODULE_PATH,
        work_pool_name=POOL,
        job_variables={
            "working_dir": str(Path.cwd()),
            "command": f"{sys.executable} -m prefect.engine",
            "env": PATIENT,
        },
        paused=deployment.paused,
    )
    made: UUID = await known.aapply()
    return made


def _limit(deployment: Deployment) -> ConcurrencyLimitConfig | None:
    if deployment.limit is None:
        return None
    return ConcurrencyLimitConfig(
        limit=deployment.limit, collision_strategy=ConcurrencyLimitStrategy(deployment.collision)
    )


if __name__ == "__main__":
    with suppress(asyncio.CancelledError):
        asyncio.run(main())
