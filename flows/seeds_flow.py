"""`understudy seeds` as a Prefect flow: each seed is a DVC experiment, its stages are lines of the log."""

from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows import seeds as study
from flows.serving import alive
from tasks.errors import UserError


@flow(name="seeds", persist_result=False, result_serializer="json")
def seeds(
    n: Annotated[int, Field(ge=1, le=100)] = 5,
    changes: list[str] = [],  # noqa: B006 - Prefect makes the form from it and changes nothing
) -> State[Any]:
    """Run what is missing of the study and show its table.

    Args:
        n: How many seeds, from `seed` of params.yaml on.
        changes: Other settings for every seed, each as key=value, such as teacher.steps=50.
    """
    alive.hold(str(flow_run.get_id()))
    logger = get_run_logger()
    try:
        found, code = study.seeds(n, changes, logger.info)
    except UserError as error:
        return Failed(message=str(error), data=error.exit_code)
    words = study.lines(found)
    create_table_artifact(
        study.rows(found),
        key="seeds",
        description=f"accuracy on the sealed test, {len(found.seeds)} seeds\n\n" + "\n\n".join(words),
    )
    message = "\n".join(words) or f"{len(found.seeds)} seeds"
    return Failed(message=message, data=code) if code else Completed(message=message, data=0)
