"""A run with other settings: a DVC experiment of the run's name, its stages shown as tasks of the run.

DVC runs the stages one after the other in a folder of its own; the workspace stays as it was, and `dvc exp apply NAME`
brings the result here. Its report and its small files are kept under .work/experiments/NAME.
"""

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.pipeline import experiments
from flows.pipeline.repro import Outcome, follow, outcome
from flows.serving.deployments import TRAINING
from flows.serving.reports import EXPERIMENTS
from flows.versions import history, revision
from tasks import files
from tasks.errors import UserError
from tasks.params import Settings

Awaited = Callable[..., Awaitable[State[int]]]  # Prefect's types miss that an async task with return_state is awaited
WORDS = {"didn't change": "Unchanged", "is cached": "Restored"}


class Follower:
    """Turns DVC's output, line by line, into a task a stage."""

    def __init__(self) -> None:
        self.tasks: dict[str, asyncio.Task[State[int]]] = {}
        self._lines: asyncio.Queue[str | Outcome] | None = None
        self.seen: list[str] = []

    def line(self, text: str) -> None:
        """The next line."""
        if found := experiments.STAGE_LINE.match(text):
            self.end(Outcome())
            name = found["name"] or found["kept"]
            lines: asyncio.Queue[str | Outcome] = asyncio.Queue()
            self.tasks[name] = asyncio.create_task(_stage(lines, name))
            self.seen.append(name)
            self._lines = lines
            if found["kept"]:
                return self.end(Outcome(skipped=WORDS[found[4]]))
        if self._lines:
            self._lines.put_nowait(text)
        return None

    def end(self, how: Outcome) -> None:
        """The stage at work is through."""
        if self._lines:
            self._lines.put_nowait(how)
        self._lines = None


async def _stage(lines: "asyncio.Queue[str | Outcome]", stage: str) -> State[int]:
    """One stage of the experiment, as long as DVC speaks of it."""

    @task(name="run_stage", task_run_name=stage, cache_policy=NO_CACHE, persist_result=False)
    async def run_stage() -> State[int]:
        logger = get_run_logger()
        while isinstance(word := await lines.get(), str):
            (logger.error if word.startswith(("error [", "ERROR: ")) else logger.info)(word)
        if word.exit_code:
            return Failed(message=word.message, data=word.exit_code)
        return Completed(name=word.skipped or "Completed", data=0)

    return await cast(Awaited, run_stage)(return_state=True)


async def run(name: str, changes: Sequence[str], settings: Settings) -> State[int]:
    """Run the experiment, however often it was killed before; UserError when the project is no git repository."""
    if experiments.finished(name):
        return Completed(message=f"experiment {name} is there already", data=0)

    @task(name="experiment", task_run_name=f"experiment {name}", tags=[TRAINING], persist_result=False)
    async def experiment() -> State[int]:
        stages = Follower()
        arguments = experiments.arguments(name, changes, settings)
        try:
            status, lines = await follow(arguments, Path.cwd(), stages.line)
            done = outcome("", status, lines)
            stages.end(done)
            await asyncio.gather(*stages.tasks.values())
        finally:
            for follower in stages.tasks.values():
                follower.cancel()
            await asyncio.gather(*stages.tasks.values(), return_exceptions=True)
        if done.exit_code:
            where = f"{stages.seen[-1]}: " if stages.seen else ""
            return Failed(message=f"{where}{done.message}", data=done.exit_code)
        return Completed(message=f"{len(stages.seen)} stages", data=0)

    state = await cast(Awaited, experiment)(return_state=True)
    if state.is_completed():
        keep(name)
        words = f"experiment {name}: `dvc exp show` has its numbers, `dvc exp apply {name}` brings it here"
        return Completed(message=words, data=0)
    return state


def keep(name: str) -> Path:
    """Copy the experiment's metrics, scores and report out of DVC's cache; the folder they are in."""
    found = experiments.finished(name)
    if found is None:
        raise UserError("no_experiment", f"DVC kept no experiment {name}", "`dvc exp show` lists what there is")
    root, folder = Path.cwd(), EXPERIMENTS / name
    version = revision.at(root, history.commit_of(root, found.rev), name)
    shutil.rmtree(folder, ignore_errors=True)
    for out in version.lock.outs:
        path = Path(out)
        if path.parent == files.metrics("x").parent:
            _copy(version.single(path), folder / path)
        elif path.parent == files.scores("x").parent or path == Path("data/report"):
            for part in version.names(path):
                if re.search(r"\.(csv|json|html)$", part):
                    _copy(version.file(path, part), folder / path / part)
    return folder


def _copy(source: Path | None, target: Path) -> None:
    if source:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
