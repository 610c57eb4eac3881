"""The saved views of a review: where to look first."""

from collections.abc import Sequence
from dataclasses import dataclass
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
MOST_CLASSES = (
    50  # with a view of their own each; of more, the sidebar's filter of `review` finds one sooner than a list
)


@dataclass(frozen=True, slots=True)
class View:
    """Which samples, in which order. `member` is an expression of FiftyOne; None = all of them."""

    name: str
    member: Any
    order: str | list[tuple[str, int]]
    words: str | None


def save(data: Any, classes: Sequence[str], is_queued: bool) -> None:
    """Save every view. A class has one by the label in `review`, so that a relabeled image moves over."""
    for number, view in enumerate(_all(classes, is_queued), start=1 - len(_all((), is_queued))):
        shown = data if view.member is None else data.match(view.member)
        try:
            data.save_view(view.name, shown.sort_by(view.order), description=view.words)
        except ValueError:  # addresses keep only letters a-z and digits: two names of other scripts become the same one
            data.save_view(f"{view.name} (class {number})", shown.sort_by(view.order))


def counts(data: Any, classes: Sequence[str]) -> dict[str, int]:
    """How many samples each saved view holds, ours in one pass through the database, whatever their number."""
    saved = data.list_saved_views()
    ours = {view.name: view.member for view in _all(classes, is_queued=True)}
    ours |= {f"{name} (class {n})": ours[name] for n, name in enumerate(map(_of_class, classes), 1) if name in ours}
    counted = {name: number for number, name in enumerate(saved) if name in ours}
    sums = {f"n{at}": {"$sum": {"$cond": [_condition(ours[name]), 1, 0]}} for name, at in counted.items()}
    found: dict[str, int] = next(iter(data._sample_collection.aggregate([{"$group": {"_id": None, **sums}}])), {})
    return {
        name: found.get(f"n{counted[name]}", 0) if name in counted else data.load_saved_view(name).count()
        for name in saved
    }


def _all(classes: Sequence[str], is_queued: bool) -> list[View]:
    from fiftyone import ViewField as F

    kept, refused = F("reason").is_in(list(KEPT)), F("reason").is_in(list(REFUSED))
    up, down = [("confidence", 1), ("image_id", 1)], [("confidence", -1), ("image_id", 1)]
    torn, doubtful = [("margin", 1), ("image_id", 1)], [("entropy", -1), ("image_id", 1)]
    disputed = F("decision").starts_with("conflict")
    flows = F("flow") != None  # noqa: E711  (an expression of MongoDB)
    queue = View(QUEUE, F("queue_rank") > 0, "queue_rank", "The budget of looks, the first look first")
    return [
        *([queue] if is_queued else []),
        View(LEAST_CONFIDENT, kept, up, "Learnt from, but barely trusted"),
        View(MOST_CONFIDENT, refused, down, "Not learnt from, and maybe right"),
        View(DISAGREE, F("disagrees"), down, "One of the two is wrong"),
        View(CONFLICTS, disputed, "image_id", "Two reviewers differ and neither wins: one more word settles it"),
        View(FLOW, flows, [("flow", 1), *down], "What one round called otherwise than the other, change by change"),
        View(TORN, None, torn, "Torn between two classes"),
        View(DOUBTFUL, None, doubtful, "In doubt among all classes"),
        *(
            View(_of_class(name), F("review.label") == F.literal(name), up, None)
            for name in (classes if len(classes) <= MOST_CLASSES else ())
        ),
    ]


def _of_class(name: str) -> str:
    return f"class: {name}"


def _condition(member: Any) -> Any:
    """The expression as MongoDB evaluates it for one sample."""
    return True if member is None else member.to_mongo()
