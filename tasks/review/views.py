"""The saved views of a review: where to look first."""

from collections.abc import Sequence
from typing import Any

from tasks.review.rows import KEPT, REFUSED

LEAST_CONFIDENT = "least confident kept"
MOST_CONFIDENT = "most confident refused"
DISAGREE = "teacher and student disagree"
FLOW = "label flow"
TORN = "smallest margin"
DOUBTFUL = "highest entropy"
QUEUE = "review queue"
QUEUED = "review-queue"  # its address
CONFLICTS = "people disagree"
FIRST = "least-confident-kept"  # the address of the view the App opens with


def save(data: Any, classes: Sequence[str], is_queued: bool) -> None:
    """Save the four queues and one view a class (by the label in `review`, so that a relabeled image moves over)."""
    from fiftyone import ViewField as F

    if is_queued:
        queue = data.match(F("queue_rank") > 0).sort_by("queue_rank")
        data.save_view(QUEUE, queue, description="The budget of looks, the first look first")
    kept, refused = F("reason").is_in(list(KEPT)), F("reason").is_in(list(REFUSED))
    up, down = [("confidence", 1), ("image_id", 1)], [("confidence", -1), ("image_id", 1)]
    data.save_view(LEAST_CONFIDENT, data.match(kept).sort_by(up), description="Learnt from, but barely trusted")
    data.save_view(MOST_CONFIDENT, data.match(refused).sort_by(down), description="Not learnt from, and maybe right")
    data.save_view(DISAGREE, data.match(F("disagrees")).sort_by(down), description="One of the two is wrong")
    disputed = data.match(F("decision").starts_with("conflict")).sort_by("image_id")
    data.save_view(CONFLICTS, disputed, description="Two reviewers differ and neither wins: one more word settles it")
    flow = data.match(F("flow") != None).sort_by([("flow", 1), *down])  # noqa: E711  (an expression of MongoDB)
    data.save_view(FLOW, flow, description="What one round called otherwise than the other, change by change")
    data.save_view(TORN, data.sort_by([("margin", 1), ("image_id", 1)]), description="Torn between two classes")
    data.save_view(DOUBTFUL, data.sort_by([("entropy", -1), ("image_id", 1)]), description="In doubt among all classes")
    for number, name in enumerate(classes, start=1):
        view = data.match(F("review.label") == name).sort_by(up)
        try:
            data.save_view(f"class: {name}", view)
        except ValueError:  # addresses keep only letters a-z and digits: two names of other scripts become the same one
            data.save_view(f"class: {name} (class {number})", view)
