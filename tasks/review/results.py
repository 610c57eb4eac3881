"""What a build or a sync of a review did, in words."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tasks.decisions import Decision
from tasks.review import views
from tasks.review.corrections import Refused

SHOWN = 10  # images in conflict that a sync names


@dataclass(frozen=True, slots=True)
class Built:
    """A review data set and what it holds; `str()` says it in words."""

    name: str
    images: int
    pool: int  # images there are to review; more than `images` when review.limit cut them
    views: dict[str, int]
    reused: bool
    budget: int  # of the queue that was asked for
    dropped: tuple[Refused, ...] = ()  # said in the data set that was replaced, and of no use

    @property
    def first(self) -> str:
        """The address of the view to open."""
        return views.QUEUED if views.QUEUE in self.views else views.FIRST

    def __str__(self) -> str:
        most = f" of {self.pool}, those most worth a look (review.limit)" if self.images < self.pool else ""
        lines = [f"{self.name}: {self.images} images{most}{'; unchanged since the last review' * self.reused}"]
        lines += [f"  {count:>7}  {name}" for name, count in self.views.items()]
        if self.views.get(views.QUEUE, 0) < self.budget:
            lines.append(f"  a queue of {self.budget} was asked for: no more labels are learnt from and undecided")
        if self.dropped:
            lines += ["not understood in the data set before, and gone with it:", *_listed(self.dropped)]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync brought back; `str()` says it in words."""

    round: str
    ledger: Path
    new: tuple[Decision, ...]  # written now; what the ledger said already is not written again
    refused: tuple[Refused, ...]
    older: int  # of the new ones: said of an older label table than that of now; their column `table` tells
    conflicts: tuple[str, ...]  # images that people disagree on now

    def __str__(self) -> str:
        counts = Counter(decision.action for decision in self.new)
        what = ", ".join(f"{number} {action}" for action, number in sorted(counts.items())) or "nothing new"
        lines = [f"{self.ledger}: {what}"]
        if self.older:
            lines.append(f"{self.older} of them said of an older label table than today's: see the column `table`")
        if self.conflicts:
            number = f"{len(self.conflicts)} image{'s' * (len(self.conflicts) != 1)}"
            lines.append(f"people disagree on {number}, which nobody learns from until one more word settles it:")
            lines += [f"  {image_id}" for image_id in self.conflicts[:SHOWN]]
            lines.append(f"  `understudy review --round {self.round}` shows them in the view {views.CONFLICTS!r}")
        if self.refused:
            lines += ["not understood, and left in FiftyOne:", *_listed(self.refused)]
        if self.new:
            lines += [f"next: `dvc repro` runs curate@{self.round} and what follows; `git add {self.ledger}` keeps it"]
        return "\n".join(lines)


def _listed(refused: tuple[Refused, ...]) -> list[str]:
    return [f"  {entry.image_id}  {entry.why}" for entry in refused]
