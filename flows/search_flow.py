"""`understudy search-augment` as a Prefect flow: a table of a grid of input noise, judged by the gate's images."""

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.search import search, shown
from flows.serving import alive
from tasks.errors import UserError


@flow(name="augmentation-search", persist_result=False, result_serializer="json")
def augmentation_search(
    num_ops: list[int] = [1, 2, 3],  # noqa: B006 - Prefect makes the form from it and changes nothing
    magnitude: list[float] = [5.0, 10.0, 15.0],  # noqa: B006
) -> State[Any]:
    """Run what is missing of the grid and show its table, the best first.

    Args:
        num_ops: RandAugment N to try: operations an image.
        magnitude: RandAugment M to try, in the paper's scale.
    """
    alive.hold(str(flow_run.get_id()))
    logger = get_run_logger()
    try:
        rows, code = search(num_ops, magnitude, logger.info)
    except UserError as error:
        logger.error(str(error))
        return Failed(message=str(error), data=error.exit_code)
    about = (
        "the last round's student against its teacher on the gate's images; the best of many looks better than it is"
    )
    create_table_artifact(shown(rows), key="augmentation-search", description=about)
    if code:
        return Failed(message=f"{len(rows)} of {len(num_ops) * len(magnitude)} pairs ended", data=code)
    return Completed(message=f"{len(rows)} pairs; the settings are as they were", data=0)
