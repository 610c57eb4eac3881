"""`understudy seeds`: the loop under several seeds as DVC experiments, their spread, and what gain is more than noise.

The seed draws everything anew: which images are labeled, which are sealed for the test (where the sources bring no test
of their own), where the nets start and what they see when. Stages that do not depend on it come from DVC's cache.
A seed whose experiment exists is not run again; of a killed one, what its finished stages made is in the cache.
"""

import fcntl
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flows.pipeline import dag, experiments
from flows.pipeline.ready import refuse_unready
from tasks import files, studies
from tasks.core.seeds import FEWEST
from tasks.errors import Busy, UserError
from tasks.params import PARAMS_FILE, Settings, load
from tasks.progress import clock

HOME = files.WORK / "seeds"
NOT_OURS = {"seed", "report", "review", "run", "scan", "cache"}  # settings that change no result
# Of another seed everything is drawn anew: held against the runs before, its labels would always seem to have drifted.
SAME_IN_ALL = {"drift.action": "report"}


@dataclass(slots=True)
class Clock:
    """How far the study is, and about how long the rest takes: as long a stage as in the seeds before, on average."""

    seeds: int
    stages: int
    at: int = 0
    begin: float = 0.0
    passed: int = 0
    ran: int = 0  # stages of the seed at work that were not cached
    took: list[tuple[int, float]] = field(default_factory=list)  # of each seed before: stages that ran, seconds

    def start(self) -> None:
        """A seed begins."""
        self.begin, self.passed, self.ran = time.monotonic(), 0, 0

    def end(self) -> None:
        """It is through."""
        self.took.append((self.ran, time.monotonic() - self.begin))

    def line(self, seed: int, stage: str) -> str:
        """Where the study is; without time left while every seed so far came from the cache."""
        where = f"seed {seed} ({self.at} of {self.seeds}): {stage}, stage {self.passed} of {self.stages}"
        ran, seconds = (sum(column) for column in zip(*self.took, strict=True)) if self.took else (0, 0.0)
        if not ran:
            return where
        each, begun = seconds / ran, time.monotonic() - self.begin
        here = max(each * self.stages - begun, each * (self.stages - self.passed + 1))
        left = here + each * self.stages * (self.seeds - self.at)
        return f"{where}, about {clock(left)} left"


def seeds(n: int, changes: Sequence[str], say: Callable[[str], None]) -> tuple[studies.Study, int]:
    """Run what is missing of n seeds, from the one in params.yaml on, and write data/decisions/seeds.csv.

    `changes` are other settings as `key=value`, the same in every seed. Returns the study and the exit code of the
    first seed that failed, 0 without one. UserError when the project has not run yet, or is no git repository.
    """
    settings = load()
    refuse_unready(settings)
    _refuse_odd(changes)
    images = images_here()
    prefix = f"seeds-{digest(settings, changes, images)}-"
    wanted = [settings.seed + i for i in range(n)]
    codes = {}
    stopped: dict[int, str] = {}
    with _alone():
        experiments.clear_killed(prefix)
        clock = Clock(n, len(_stages()))
        for clock.at, seed in enumerate(wanted, 1):
            if experiments.finished(name := f"{prefix}{seed}"):
                say(f"seed {seed} ({clock.at} of {n}): {name} is there already")
                continue
            done = _run(name, [f"seed={seed}", *_same_in_all(changes), *changes], settings, clock, say)
            if done.exit_code:
                codes[seed], stopped[seed] = done.exit_code, done.message.splitlines()[0]
                say(f"seed {seed} ({clock.at} of {n}) did not end: {done.message}")
        found = _collect(prefix, wanted, stopped, images)
        studies.write(files.SEEDS, found, {seed: f"{prefix}{seed}" for seed in wanted})
    return found, next(iter(codes.values()), 0)


def lines(found: studies.Study) -> list[str]:
    """What the study says in words: the paired differences and whether they are more than noise."""
    nets = list(found.accuracy)
    pairs = [(new, old) for new in nets[2:] for old in ("baseline", "r0") if new != old]
    told = []
    for new, old in pairs:
        gain = found.gain(new, old)
        text = f"{new} against {old}: {100 * gain.mean:+.2f} points on average over {gain.n} seeds"
        if gain.low is not None and gain.high is not None:
            text += f" (95 % interval {100 * gain.low:+.2f} to {100 * gain.high:+.2f}, paired t)"
        few = f"n < {FEWEST}: no claim" if gain.n < FEWEST else gain.verdict
        told.append(f"{text}: {few}")
    told += [f"seed {seed} did not end: {why}" for seed, why in found.stopped.items()]
    return told


def rows(found: studies.Study) -> list[dict[str, object]]:
    """A row a net: mean, standard deviation and the single values."""
    return [
        {"net": net, "mean": f"{s.mean:.4f}", "std": "-" if s.std is None else f"{s.std:.4f}", "seeds": s.n}
        | {f"seed {seed}": f"{value:.4f}" for seed, value in sorted(found.accuracy[net].items())}
        for net, s in found.spreads().items()
    ]


def _run(name: str, changes: list[str], settings: Settings, clock: Clock, say: Callable[[str], None]) -> Any:
    """One seed; its whole output goes to .work/seeds/NAME.log, its stages to `say`."""
    clock.start()
    with (HOME / f"{name}.log").open("w", encoding="utf-8") as log:

        def line(text: str) -> None:
            log.write(text + "\n")
            log.flush()
            if stage := experiments.STAGE_LINE.match(text):
                clock.passed += 1
                if stage["name"]:
                    clock.ran += 1
                    say(clock.line(int(name.rpartition("-")[2]), stage["name"]))

        done = experiments.run(name, changes, settings, line)
    if not done.exit_code:
        clock.end()
    return done


def _collect(prefix: str, wanted: list[int], stopped: dict[int, str], images: dict[str, str]) -> studies.Study:
    """The accuracies of all experiments that are there; UserError when one of them took in other images."""
    found = studies.Study({}, stopped, {})
    for seed in wanted:
        if not (experiment := experiments.finished(f"{prefix}{seed}")):
            continue
        if experiments.images_of(experiments.lock_of(experiment)) != images:
            what = f"seed {seed} took in other images than the last `dvc repro`: a source changed meanwhile"
            raise UserError("source_changed", what, "run `dvc repro`, then the same command again")
        by_path = experiments.metrics(experiment)
        rounds = {r: by_path[files.metrics(f"evaluate@{r}").as_posix()] for r in load().rounds}
        if not (measured := studies.of_round(rounds)):
            what = "there are no test images, so that no accuracy can be told"
            raise UserError("no_test", what, "set split.test in params.yaml or bring a test set, then `dvc repro`")
        found.images[seed] = next(iter(rounds.values()))["test"]["n"]
        for net, accuracy in measured.items():
            found.accuracy.setdefault(net, {})[seed] = accuracy
    return found


def digest(settings: Settings, changes: Sequence[str], images: dict[str, str]) -> str:
    """Eight digits that name all the seeds share: settings, images, human decisions, pipeline and code."""
    own = {key: value for key, value in settings.model_dump(mode="json").items() if key not in NOT_OURS}
    ledgers = (path for path in files.SEEDS.parent.glob("*.csv") if path != files.SEEDS)
    paths = [Path("dvc.yaml"), *ledgers, *Path("tasks").rglob("*.py")]
    content = {path.as_posix(): files.sha256_file(path) for path in sorted(paths)}
    return files.digest([own, list(changes), images, content])[:8]


def images_here() -> dict[str, str]:
    """What the project's own last run took in."""
    lock = yaml.safe_load(experiments.LOCK_FILE.read_text()) if experiments.LOCK_FILE.exists() else None
    if not (images := experiments.images_of(lock or {})):
        raise UserError("not_run", "nothing ran here yet, and a study stands beside a run", "run `dvc repro` first")
    return images


def _stages() -> list[str]:
    graph = dag.stages(Path.cwd())
    ends = [name for name, _ in graph if name.partition("@")[0] == "evaluate"]
    return sorted({name for end in ends for name, _ in dag.needed_for(graph, end)})


def _same_in_all(changes: Sequence[str]) -> list[str]:
    chosen = {change.partition("=")[0] for change in changes}
    return [f"{key}={value}" for key, value in SAME_IN_ALL.items() if key not in chosen]


def _refuse_odd(changes: Sequence[str]) -> None:
    for change in changes:
        key, sign, _ = change.partition("=")
        if not sign or key == "seed":
            what = f"--set {change}: " + ("the study sets the seed itself" if sign else "expected KEY=VALUE")
            raise UserError("bad_setting", what, f"give a setting of {PARAMS_FILE}, such as --set teacher.steps=50")


@contextmanager
def _alone() -> Any:
    """One study at a time; the kernel frees the lock when its holder dies."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "LOCK").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("busy", "understudy seeds is already running here", "wait for it") from None
        yield
