"""`understudy review`: build the data set of a round, open the App on it, bring the corrections back."""

import fcntl
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from tasks import decisions, files
from tasks.decisions import Decision
from tasks.errors import Busy, UserError
from tasks.params import Settings
from tasks.progress import Progress
from tasks.review import (
    app,
    clicks,
    corrections,
    database,
    dataset,
    embedding_map,
    features,
    lineage,
    pictures,
    queued,
    rows,
    spool,
    views,
)
from tasks.review.corrections import Refused
from tasks.review.features import Features
from tasks.review.pictures import Picture
from tasks.review.spool import Click

Written = tuple[str, Picture]
SHOWN = 10  # images in conflict that a sync names
FORM = 2  # of the data set; another one makes it anew


@dataclass(frozen=True, slots=True)
class Built:
    """A review data set and what it holds; `str()` says it in words."""

    name: str
    images: int
    pool: int  # images there are to review; more than `images` when review.limit cut them
    views: dict[str, int]
    reused: bool
    dropped: tuple[Refused, ...]  # said in the data set that was replaced, and of no use

    @property
    def first(self) -> str:
        """The address of the view to open."""
        return views.QUEUED if views.QUEUE in self.views else views.FIRST

    def __str__(self) -> str:
        most = f" of {self.pool}, those most worth a look (review.limit)" if self.images < self.pool else ""
        lines = [f"{self.name}: {self.images} images{most}{'; unchanged since the last review' * self.reused}"]
        lines += [f"  {count:>7}  {name}" for name, count in self.views.items()]
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


def build(round_: str, settings: Settings, budget: int = 0) -> Built:
    """Make the review data set of a round, or keep the one that already shows the present files.

    With a budget that many labels stand in a queue (tasks/review/queued.py), beside the images most worth a look.
    Raises UserError when the files changed while corrections in the App wait for a sync: a new one would lose them.
    """
    with alone():
        if not _is_there(round_, settings):
            rows.load(round_, settings)  # it says what is missing
        waiting = spool.pending(round_)
        fo = database.connect()
        key, old = _key(round_, settings, budget), dataset.find(fo, round_)
        if old is not None and old.info["key"] == key and dataset.pictures_exist(old):
            clicks.replay(old, waiting)
            return _built(old, old.info["pool"], reused=True)
        reviewed = rows.load(round_, settings, waiting=[click.said for click in waiting])
        dropped = _refuse_to_lose(old, round_, reviewed.classes) if old is not None else ()
        for source in settings.sources:
            rows.published(files.images(source), f"ingest@{source}")
        chosen, on_map, seen = _chosen(reviewed, round_, settings, budget)
        with Progress(len(chosen), f"review {round_}", "images") as progress:
            written = _counted(pictures.write(chosen["image_id"].tolist(), pictures.folder(round_)), progress)
            made = dataset.create(fo, round_, chosen, written, reviewed.classes)
        if seen is not None:
            embedding_map.add(fo, made, on_map, seen, settings, queued=budget > 0)
        dataset.finish(made, key, reviewed.table, len(reviewed.rows), round_, reviewed.classes)
        return _built(made, len(reviewed.rows), reused=False, dropped=dropped)


def _is_there(round_: str, settings: Settings) -> bool:
    """Whether the round can be told from the records of its files, which were verified when it was shown before."""
    made = (files.labels(round_), files.probs(round_), files.SPLIT)
    return round_ in settings.rounds and all((folder / files.MANIFEST).is_file() for folder in made)


def _counted(written: Iterator[Written], progress: Progress) -> Iterator[Written]:
    for one in written:
        yield one
        progress.advance(1)


def _chosen(
    reviewed: rows.Reviewed, round_: str, settings: Settings, budget: int
) -> tuple[pd.DataFrame, list[str], Features | None]:
    """The rows to show, with their places in the queue; the ids to put on the map; features of these and more."""
    worth = rows.choose(reviewed.rows, settings.review.limit)["image_id"]
    could = queued.candidates(reviewed.rows)["image_id"].tolist() if budget else []
    seen = features.look([*worth, *sorted(set(could) - set(worth))][: settings.review.features], round_, settings)
    queue = queued.enqueue(reviewed, round_, settings, budget, seen) if budget and could else queued.NOTHING
    all_rows = reviewed.rows.merge(queue, on="image_id", how="left")
    shown = all_rows[all_rows["image_id"].isin({*worth, *queue["image_id"]})].reset_index(drop=True)
    return shown, embedding_map.ids(queue["image_id"].tolist(), shown["image_id"].tolist()), seen


def _say(address: str) -> None:
    print(f"FiftyOne: {address}\nCtrl-C closes it; what you correct stays until the sync", flush=True)


def open_app(
    name: str, port: int, ready: Callable[[str], object] = _say, view: str = views.FIRST, who: str = ""
) -> None:
    """Serve the App on loopback until Ctrl-C; `ready` gets its address once it answers; `who` clicks in it.

    Raises Busy when the port is taken. The App has no log-in, so there is no way to serve it to other machines, and its
    server answers this machine's own pages alone (tasks/review/guard.py): from afar use `ssh -L`.
    """
    _refuse_taken(port)
    os.environ[clicks.WHO] = who
    fo = database.connect()
    session = app.launch(fo, fo.load_dataset(name), port)
    ready(f"http://{app.ADDRESS}:{port}/datasets/{name}?view={view}")
    try:
        app.wait()
    except KeyboardInterrupt:
        session.close()


def sync(round_: str, who: str) -> SyncResult:
    """Bring the corrections made in FiftyOne into the ledger of the round; doing it twice changes nothing.

    `who`: the person, as it shall stand in the ledger; clicks in the App carry the name of who made them. The ledger is
    written first; only then clicks count as synced, FiftyOne's tags are taken off and its labels count as shown, so a
    kill in between costs nothing. Clicks do not need FiftyOne's database.
    """
    if not who.strip():
        raise UserError("no_name", "a decision needs a name to it", 'git config user.name "Your Name"')
    with alone():
        rows.published(files.SPLIT, "split")
        classes: list[str] = files.read_json(files.SPLIT / "classes.json")
        ledger = files.decisions(round_)
        before = len(decisions.read(ledger)) if ledger.exists() else 0
        waiting = spool.pending(round_)
        refused = _bring_clicks(round_, waiting, classes) if waiting else []
        fo = database.connect()
        data = dataset.find(fo, round_)
        if data is not None:
            made, odd = _read(data, round_, classes, who)
            decisions.append(ledger, made, settling=dataset.disputed(data))
            dataset.settle(fo, data, made, classes)
            dataset.show_conflicts(data, decisions.standing(decisions.read(ledger)).conflicts)
            refused += odd
        elif not waiting:
            what = f"there is no review of {round_} in {database.HOME}"
            raise UserError("no_review", what, f"`understudy review --round {round_}` makes it from the files")
        return _result(round_, before, refused)


def _result(round_: str, before: int, refused: list[Refused]) -> SyncResult:
    ledger, now = files.decisions(round_), files.manifest_hash(files.labels(round_))
    said = decisions.read(ledger) if ledger.exists() else []
    new, disputed = tuple(said[before:]), tuple(sorted(decisions.standing(said).conflicts))
    older = sum(1 for decision in new if decision.table != now)
    return SyncResult(round_, ledger, new, tuple(refused), older, disputed)


def _bring_clicks(round_: str, waiting: list[Click], classes: list[str]) -> list[Refused]:
    """Write the clicks that stand today into the ledger; the others wait on, and why."""
    rows.published(files.labels(round_), f"curate@{round_}")
    now = rows.labels_now(round_)
    made, refused = corrections.still_meant([click.said for click in waiting], classes, now)
    if {click.said.table for click in waiting} != {files.manifest_hash(files.labels(round_))}:
        made, stale = corrections.without_stale(made, now)
        refused += stale
    settling = {click.said.image_id for click in waiting if click.words.startswith("conflict")}
    decisions.append(files.decisions(round_), made, settling)
    spool.synced(round_, [click for click in waiting if click.said not in made])
    return refused


def _read(data: Any, round_: str, classes: list[str], who: str) -> tuple[list[Decision], list[Refused]]:
    """What people said in the data set since it was built or synced, held against the label table of now."""
    rows.published(files.labels(round_), f"curate@{round_}")
    now = rows.labels_now(round_)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    made, refused = corrections.interpret(
        dataset.read(data), classes, now, who=who, when=when, table=data.info["table"]
    )
    if data.info["table"] == files.manifest_hash(files.labels(round_)):
        return made, refused
    fresh, stale = corrections.without_stale(made, now)
    return fresh, refused + stale


def _refuse_to_lose(data: Any, round_: str, classes: list[str]) -> tuple[Refused, ...]:
    made, refused = _read(data, round_, classes, who="")
    if made:
        raise UserError(
            "unsynced",
            f"{data.name} holds corrections of {len(made)} images that are in no ledger yet, and the files it shows "
            "have changed since: making it anew would lose them",
            f"`understudy review --round {round_} --sync`, then review again",
        )
    return tuple(refused)


def _built(data: Any, pool: int, reused: bool, dropped: tuple[Refused, ...] = ()) -> Built:
    counts = {name: data.load_saved_view(name).count() for name in data.list_saved_views()}
    return Built(data.name, data.count(), pool, counts, reused, dropped)


def _key(round_: str, settings: Settings, budget: int) -> str:
    """A digest of everything a review shows: while it stays the same, the data set need not be made again."""
    others = [key for key, entry in settings.rounds.items() if entry.teacher == round_]
    shown = [files.labels(round_), *(files.probs(key) for key in (round_, *others) if files.probs(key).is_dir())]
    hashes = [files.manifest_hash(path) for path in shown]
    chosen = [settings.seed, settings.review.model_dump(exclude={"port"}), budget]
    return files.digest([FORM, *hashes, *lineage.key(), *chosen, str(Path.cwd())])


def _listed(refused: tuple[Refused, ...]) -> list[str]:
    return [f"  {entry.image_id}  {entry.why}" for entry in refused]


@contextmanager
def alone() -> Iterator[None]:
    """One build or sync at a time in a project; the kernel frees the lock when its holder dies."""
    home = files.WORK / "review"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "LOCK").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("busy", "another `understudy review` is building or syncing here", "wait for it") from None
        yield


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex((app.ADDRESS, port)) == 0:
            what = f"port {port} is in use, maybe by another review"
            raise Busy("port_taken", what, "close that one, or change review.port in params.yaml")
