"""What can be started from Prefect's pages: THE list. `understudy serve` registers it, prefect.yaml says the same.

No Prefect is imported here. A flow is named by module and function; its parameters are the form in the UI.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tasks.params import Schedule

POOL = "understudy"  # the work pool of `understudy serve` and of prefect.yaml
SELF_TRAINING = "self-training/self-training"  # flow and deployment
TRAINING = "training"  # tag of what wants the whole machine: one at a time, by a concurrency limit of this name


@dataclass(frozen=True, slots=True)
class Deployment:
    """A flow that a server knows: started by a person, a schedule or an event.

    `limit` is how many of its runs may work at once, and `collision` what becomes of one more: it waits (ENQUEUE) or
    is cancelled (CANCEL_NEW). `cron` has five fields and is read in `timezone`; a `paused` one waits to be switched on.
    """

    name: str
    flow: str
    about: str
    parameters: dict[str, Any] = field(default_factory=dict)
    cron: str | None = None
    timezone: str = "UTC"
    paused: bool = False
    limit: int | None = None
    collision: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"


RELABEL = Deployment(
    "relabel",
    "flows.relabel.relabel",
    "Label new pool images with the net there is. Trains nothing. By the schedule of params.yaml.",
    limit=1,
    collision="CANCEL_NEW",
)
DEPLOYMENTS = (
    RELABEL,
    Deployment(
        "self-training",
        "flows.self_training.self_training",
        "Bring everything up to date: every stage that DVC finds out of date. With settings in the form it is a DVC "
        "experiment of the run's name instead, and the workspace stays as it was.",
    ),
    Deployment(
        "seeds",
        "flows.seeds_flow.seeds",
        "The loop under several seeds: mean, spread, and which gain is more than noise.",
        limit=1,
        collision="CANCEL_NEW",
    ),
    Deployment(
        "review",
        "flows.review_flow.review",
        "Make the queue of a round, wait for people as long as it takes, bring their corrections and go on.",
    ),
    Deployment(
        "augmentation-search",
        "flows.search_flow.augmentation_search",
        "A grid of input noise for the last student, judged by the gate's images; each pair is a DVC experiment.",
        limit=1,
        collision="CANCEL_NEW",
    ),
)


def scheduled(schedule: Schedule) -> list[Deployment]:
    """The list, with the schedule of params.yaml."""
    timed = replace(RELABEL, cron=schedule.cron, timezone=schedule.timezone)
    return [timed if one is RELABEL else one for one in DEPLOYMENTS]
