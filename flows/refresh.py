"""New pool images get labels from the net there is: which stages that takes, what they did, what is out of date after.

Never a net: `dvc repro` would train every round again, for its table of labels has grown. Here only the stages up to
the labels run, for one round, each by itself (`dvc repro -s`); that a training is due is said, not done. No Prefect.
"""

import json
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.pipeline import dag
from flows.pipeline.dag import Dag
from flows.pipeline.repro import Outcome, ending, follow
from flows.versions import hashing
from tasks import files, yaml_file
from tasks.errors import BAD_INPUT, DONE, UserError
from tasks.params import Settings

INTAKE = ("ingest", "fingerprint", "split", "labeled")
LABELS = ("label", "curate", "drift")
TRAINS = ("teacher", "baseline", "student")
FIXED = ("seed", "split")  # settings that say which images are held out: changed, the net is no longer fit to label
UNPUSHED = files.WORK / "relabel" / "unpushed"
Log = Callable[[str], None]
Work = Callable[[str], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Plan:
    """Whose labels are refreshed: the round, and the net that labels it."""

    round: str
    net: str

    @property
    def last(self) -> str:
        """The stage with which it ends."""
        return f"{LABELS[-1]}@{self.round}"

    def takes(self, stage: str) -> bool:
        """Whether the stage is one of its own: intake, or labels of its round."""
        name, _, of = stage.partition("@")
        return name in INTAKE or (name in LABELS and of == self.round)

    def stages(self, graph: Dag) -> list[str]:
        """Its stages, in order."""
        return [name for name, _ in dag.needed_for(graph, self.last) if self.takes(name)]


@dataclass(slots=True)
class Refreshed:
    """What a run did. `name` is one of Nothing new, Relabeled, Held, Drift, Failed; `due`: a training should follow."""

    name: str
    message: str
    exit_code: int = DONE
    round: str = ""
    predicted: int = 0
    images: int = 0
    stale: list[str] = field(default_factory=list)
    grown: float | None = None
    due: bool = False


def plan(settings: Settings) -> Plan:
    """The last round that the present champion labels; where it labels none, the last one that has a teacher.

    UserError where there is no net yet.
    """
    net_of = {key: _net(files.champion(entry.teacher)) for key, entry in settings.rounds.items()}
    able = [key for key in settings.rounds if net_of[key]]
    champion = _net(files.CHAMPION)
    if not able or not champion:
        raise UserError("nothing_yet", "there is no champion to label new images", "`understudy run` makes one")
    round_ = next((key for key in reversed(able) if net_of[key] == champion), able[-1])
    return Plan(round_, net_of[round_])


async def refresh(root: Path, settings: Settings, work: Work, log: Log) -> Refreshed:
    """Label what is new and refresh the labels of one round. `work` runs a stage. Nothing new: nothing is touched.

    UserError where nothing can be labeled; the caller holds the workspace.
    """
    plans = plan(settings)
    # One target with all it stands on: DVC reads dvc.lock anew for every target.
    found = await _status(root, ["--with-deps", plans.last])
    changed = {stage: changes for stage, changes in found.items() if plans.takes(stage)}
    _refuse_other_split(changed.get("split", []))
    if not changed:
        done = Refreshed("Nothing new", f"nothing new: the labels of {plans.round} are those of all images there are")
        done.round = plans.round
        return await _pushed(root, settings, done, log) if UNPUSHED.exists() else done
    graph = dag.stages(root)
    for stage in plans.stages(graph):
        ended = await work(stage)
        if ended.exit_code:
            return _stopped(plans, stage, ended)
    done = _counted(plans)
    done.stale = _stale(graph, await _status(root, []))
    done.grown = _grown(root, settings)
    done.due = _due(settings, done)
    done.message = "\n".join([done.message, *_what_follows(plans, settings, done)])
    if settings.relabel.commit:
        _commit(root, done, log)
    return await _pushed(root, settings, done, log)


def _net(folder: Path) -> str:
    card = folder / "card.json"
    return str(files.read_json(card)["key"]) if card.is_file() else ""


async def _status(root: Path, which: list[str]) -> dict[str, list[Any]]:
    """What DVC finds changed, by stage; of all stages where none is named."""
    status, lines = await follow(["--wait-for-lock", "status", "--json", *which], root, lambda _line: None)
    if status:
        what = "\n".join(lines[-5:]) or f"dvc status ended with {status} and without a word: it was killed"
        raise UserError("bad_status", what, "`dvc status` shows the same, or nothing: then start this again")
    found: dict[str, list[Any]] = json.loads(next(line for line in reversed(lines) if line.startswith("{")))
    return found


def _refuse_other_split(changes: list[Any]) -> None:
    """Other held-out images would be labeled by a net that may have learnt from them."""
    params = [change.get("changed deps", {}).get("params.yaml", {}) for change in changes if isinstance(change, dict)]
    keys = sorted({key for one in params if isinstance(one, dict) for key in one if key.partition(".")[0] in FIXED})
    if keys:
        what = f"params.yaml: {', '.join(keys)} changed since the nets learnt, so other images are held out now"
        raise UserError("other_split", what, "`understudy run` first: it draws the split and trains anew")


def _stopped(plans: Plan, stage: str, ended: Outcome) -> Refreshed:
    return Refreshed(ending(stage, ended.exit_code), f"{stage}: {ended.message}", ended.exit_code, plans.round)


def _counted(plans: Plan) -> Refreshed:
    """What the stages wrote down about this run."""
    counts = files.read_json(files.metrics(f"label@{plans.round}"))
    made = Refreshed("Relabeled", "", round=plans.round, images=counts["images"])
    made.predicted = counts.get("predicted", 0)
    made.message = f"{plans.round}: {made.predicted} images predicted by {plans.net}, {made.images} in the pool"
    return made


def _stale(graph: Dag, changed: dict[str, list[Any]]) -> list[str]:
    """The stages that `dvc repro` would run now: those that changed and all that stand on them, in order."""
    stale: set[str] = set()
    for name, needs in graph:
        if name in changed or stale & set(needs):
            stale.add(name)
    return [name for name, _ in graph if name in stale]


def _what_follows(plans: Plan, settings: Settings, done: Refreshed) -> list[str]:
    lines = []
    champion = _net(files.CHAMPION)
    if champion != plans.net:
        lines.append(f"the champion {champion} labels no round; one more under rounds:, teacher: {champion}, lets it")
    if trains := [name for name in done.stale if name.partition("@")[0] in TRAINS]:
        lines.append(f"out of date now: {', '.join(done.stale)}; `understudy run` would train {', '.join(trains)} anew")
    if done.due:
        share = "an unknown share" if done.grown is None else f"{done.grown:.0%}"
        lines.append(f"the pool has grown by {share} since the last student learnt (relabel.grown): a training is due")
    return lines


def _due(settings: Settings, done: Refreshed) -> bool:
    trains = any(name.partition("@")[0] in TRAINS for name in done.stale)
    return settings.relabel.retrain != "never" and trains and (done.grown or 0) >= settings.relabel.grown


def _grown(root: Path, settings: Settings) -> float | None:
    """New images as a share of the pool from which the last student learnt; None where that table is gone.

    dvc.lock names the label table that it learnt from, and DVC's cache still has it unless somebody ran `dvc gc`.
    """
    from flows.versions import storage

    locked = yaml_file.read(root / "dvc.lock").get("stages", {})
    trained = [key for key in settings.rounds if f"student@{key}" in locked]
    if not trained:
        return None
    folder = files.labels(trained[-1]).as_posix()
    md5 = next(dep["md5"] for dep in locked[f"student@{trained[-1]}"]["deps"] if dep["path"] == folder)
    with storage.opened(root) as store:
        cache = store.cache
    listing = cache / md5[:2] / md5[2:]
    if not listing.is_file():
        return None
    table = (hashing.listing(listing.read_bytes()) or {}).get("labels.parquet", "-" * 3)
    then = cache / table[:2] / table[2:]
    return files.rows(files.SPLIT / "pool.parquet") / files.rows(then) - 1 if then.is_file() else None


def _commit(root: Path, done: Refreshed, log: Log) -> None:
    """Keep dvc.lock in git, and nothing else that may lie there."""
    words = f"relabel {done.round}: {done.predicted} new images"
    ended = subprocess.run(
        ["git", "commit", "-q", "-m", words, "--", "dvc.lock"], cwd=root, capture_output=True, text=True, check=False
    )
    log(f"committed: {words}" if not ended.returncode else f"not committed: {ended.stdout}{ended.stderr}".strip())


async def _pushed(root: Path, settings: Settings, done: Refreshed, log: Log) -> Refreshed:
    """`dvc push`, where a default remote is configured; a push that failed is tried again by the next run."""
    if not settings.relabel.push:
        return done
    _, lines = await follow(["config", "core.remote"], root, lambda _line: None)
    remote = next((line.strip() for line in lines if line.strip()), "")
    if not remote:
        return done
    UNPUSHED.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    UNPUSHED.touch()
    status, lines = await follow(["--wait-for-lock", "push", "-q"], root, log)
    if status:
        why = "\n".join(lines[-5:])
        done.name, done.exit_code = "Failed", BAD_INPUT
        done.message += f"\nthe labels are there, but `dvc push` to {remote} failed: {why}\nthe next run tries it again"
        return done
    UNPUSHED.unlink()
    done.message += f"\npushed to {remote}"
    return done
