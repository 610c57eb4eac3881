"""`understudy review`: build the data set of a round, open the App on it, bring the corrections back."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks import decisions, files
from tasks.decisions import Decision
from tasks.errors import Busy, UserError
from tasks.params import Settings
from tasks.progress import Progress
from tasks.review import (
    clicks,
    corrections,
    database,
    dataset,
    embedding_map,
    inbox,
    lineage,
    pictures,
    rows,
    selection,
    spool,
    views,
)
from tasks.review.corrections import Refused
from tasks.review.pictures import Picture
from tasks.review.results import Built, SyncResult
from tasks.review.spool import Click

Written = tuple[str, Picture]
FORM = 4  # of the data set; another one makes it anew


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
            return _built(old, old.info["pool"], budget, reused=True)
        reviewed = rows.load(round_, settings, waiting=[click.said for click in waiting])
        dropped = _refuse_to_lose(old, round_, reviewed.classes) if old is not None else ()
        for source in settings.sources:
            rows.published(files.images(source), f"ingest@{source}")
        chosen, on_map, seen = selection.choose(reviewed, round_, settings, budget)
        with Progress(len(chosen), f"review {round_}", "images") as progress:
            written = _counted(pictures.write(chosen["image_id"].tolist(), pictures.folder(round_)), progress)
            made = dataset.create(fo, round_, chosen, written, reviewed.classes)
        if seen is not None:
            is_queued = bool(chosen["queue_rank"].notna().any())
            embedding_map.add(fo, made, on_map, seen, settings, is_queued)
        dropped = inbox.restore(round_, made) if old is None else dropped
        dataset.finish(made, key, reviewed.table, len(reviewed.rows), round_, reviewed.classes)
        return _built(made, len(reviewed.rows), budget, reused=False, dropped=dropped)


def _is_there(round_: str, settings: Settings) -> bool:
    """Whether the round can be told from the records of its files, which were verified when it was shown before."""
    made = (files.labels(round_), files.probs(round_), files.SPLIT)
    return round_ in settings.rounds and all((folder / files.MANIFEST).is_file() for folder in made)


def _counted(written: Iterator[Written], progress: Progress) -> Iterator[Written]:
    for one in written:
        yield one
        progress.advance(1)


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
        refused = _bring_clicks(round_, classes) if waiting else []
        fo = database.connect()
        data = dataset.find(fo, round_)
        if data is not None:
            made, odd = _read(data, round_, classes, who)
            decisions.append(ledger, made, settling=dataset.disputed(data))
            dataset.settle(data, made)
            dataset.show_conflicts(data, decisions.standing(decisions.read(ledger)).conflicts)
            inbox.keep(round_, data)
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


def _bring_clicks(round_: str, classes: list[str]) -> list[Refused]:
    """Write the clicks that stand today into the ledger; the others wait on, and why."""
    rows.published(files.labels(round_), f"curate@{round_}")
    now, table = rows.labels_now(round_), files.manifest_hash(files.labels(round_))
    refused: list[Refused] = []

    def write(waiting: list[Click]) -> list[Click]:
        meant, odd = corrections.still_meant([click.said for click in waiting], classes, now)
        made, stale = corrections.without_stale(meant, now, table)
        refused.extend(odd + stale)
        settling = {click.said.image_id for click in waiting if click.words.startswith("conflict")}
        decisions.append(files.decisions(round_), made, settling)
        written = set(made)
        return [click for click in waiting if click.said not in written]

    spool.hand_over(round_, write)
    return refused


def _read(data: Any, round_: str, classes: list[str], who: str) -> tuple[list[Decision], list[Refused]]:
    """What people said in the data set since it was built or synced, held against the label table of now."""
    rows.published(files.labels(round_), f"curate@{round_}")
    now = rows.labels_now(round_)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    made, refused = corrections.interpret(
        dataset.read(data), classes, now, who=who, when=when, table=data.info["table"]
    )
    fresh, stale = corrections.without_stale(made, now, files.manifest_hash(files.labels(round_)))
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


def _built(data: Any, pool: int, budget: int, reused: bool, dropped: tuple[Refused, ...] = ()) -> Built:
    counts = views.counts(data, data.info["classes"])
    return Built(data.name, data.count(), pool, counts, reused, budget, dropped)


def _key(round_: str, settings: Settings, budget: int) -> str:
    """A digest of everything a review shows: while it stays the same, the data set need not be made again."""
    others = [key for key, entry in settings.rounds.items() if entry.teacher == round_]
    shown = [files.labels(round_), *(files.probs(key) for key in (round_, *others) if files.probs(key).is_dir())]
    hashes = [files.manifest_hash(path) for path in shown]
    chosen = [settings.seed, settings.review.model_dump(exclude={"port"}), budget]
    return files.digest([FORM, *hashes, *lineage.key(), *chosen, str(Path.cwd())])


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
