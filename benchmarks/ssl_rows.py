"""The rows of benchmarks/ssl.py: which nets are trained one after the other, from which settings.

A row is a list of lessons, each a net with what taught it. All come from params.yaml or settings/cifar10.yaml, with the
smaller budgets below, so that a row takes minutes on one core.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tasks import params

ROOT = Path(__file__).resolve().parent.parent
SectionT = TypeVar("SectionT", bound=params.Section)
ROUNDS, ABLATED = 3, 2  # of Noisy Student; of the rows held against its second round
SILENT: dict[str, Any] = {"num_ops": 0, "magnitude": 0.0, "crop": 0, "flip": False, "cutout": 0}


@dataclass(frozen=True, slots=True)
class Lesson:
    """One net: its settings and, of a student, whose labels it learns and how they are chosen."""

    key: str
    spec: params.Net
    train: params.Train
    teacher: str | None = None
    curate: params.Curate | None = None
    all_labels: bool = False  # the pool's true classes too: the bound
    noised_teacher: bool = False


@dataclass(frozen=True, slots=True)
class Base:
    """The settings of a data set that rows are made of."""

    image: params.Image
    train: params.Train
    teacher: params.Net
    student: params.Student
    curate: params.Curate


# What differs from the shipped settings, for time. Chosen before anything was measured.
CHANGES: dict[str, dict[str, Any]] = {
    "digits": {
        "settings": "params.yaml",
        "train": {"batch": 40},
        "teacher": {"net": "wrn10mp", "width": 1, "steps": 300},
        "student": {"net": "wrn10mp", "width": 2, "steps": 300, "ratio": 3},
    },
    "cifar10": {
        "settings": "settings/cifar10.yaml",
        "train": {"batch": 48},
        "teacher": {"net": "wrn10mp", "width": 1, "steps": 600},
        "student": {"net": "wrn10mp", "width": 1, "steps": 600, "ratio": 3},
    },
}
# Five times the steps, added when 600 had turned out too few for labels alone: 1,200 gained a first teacher 6 points.
_short, _long = CHANGES["cifar10"], {"steps": 3000}
CHANGES["cifar10_long"] = _short | {name: _short[name] | _long for name in ("teacher", "student")}


@cache
def base(data: str) -> Base:
    """The settings of a data set."""
    change = CHANGES[data]
    cfg = params.load(ROOT / change["settings"])
    first = next(iter(cfg.rounds.values()))
    return Base(
        image=cfg.image,
        train=changed(cfg.train, **change["train"]),
        teacher=changed(cfg.teacher, **change["teacher"]),
        student=changed(first.student, **change["student"]),
        curate=changed(first.curate, **change.get("curate", {})),
    )


def changed(section: SectionT, **values: Any) -> SectionT:
    """A section with other values, checked like one that was read. A mapping changes the keys it names."""
    old = section.model_dump()
    new = {key: old[key] | value if isinstance(value, dict) else value for key, value in values.items()}
    return type(section).model_validate(old | new)


def supervised(start: Base, **values: Any) -> params.Net:
    """A net of the student's form, noise and steps."""
    wanted = changed(start.student, **values).model_dump()
    return params.Net.model_validate({key: wanted[key] for key in params.Net.model_fields})


def light(start: Base) -> dict[str, Any]:
    """The first teacher's noise instead of a student's."""
    of = start.teacher
    return {"noise": of.noise.model_dump(), "dropout": of.dropout, "stochastic_depth": of.stochastic_depth}


def chain(
    start: Base, rounds: int, *, noised_teacher: bool = False, last: dict[str, Any] | None = None, **values: Any
) -> list[Lesson]:
    """Noisy Student for some rounds. `values`: what differs in `student` and `curate`; `last`: in the last student."""
    student = changed(start.student, **values.get("student", {}))
    curate = changed(start.curate, **values.get("curate", {}))
    lessons = [Lesson("r0", start.teacher, start.train)]
    for number in range(1, rounds + 1):
        spec = changed(student, **last) if last and number == rounds else student
        lessons.append(Lesson(f"r{number}", spec, start.train, f"r{number - 1}", curate, noised_teacher=noised_teacher))
    return lessons


def pseudo_label(start: Base) -> list[Lesson]:
    """Lee (2013), in one turn: hard labels of at least 0.95, weak noise, the same net. No smoothing, which would keep

    confidences below 0.95; no balance.
    """
    return _unnoised(start, 1, changed(start.curate, threshold=0.95, labels="hard", per_class=None))


def gentle(start: Base) -> list[Lesson]:
    """Two rounds with the weak noise of `pseudo_label` and soft labels of the whole pool: distillation, turn by turn.

    Tried after Noisy Student's noise had cost a thin net with few steps accuracy on CIFAR-10's validation images.
    """
    return _unnoised(start, 2, changed(start.curate, threshold=0.0, labels="soft", per_class=None))


def _unnoised(start: Base, rounds: int, curate: params.Curate) -> list[Lesson]:
    noise = start.teacher.noise.model_dump() | {"num_ops": 0, "cutout": 0}
    plain = {"noise": noise, "dropout": 0.0, "stochastic_depth": 0.0}
    train, student = changed(start.train, label_smoothing=0.0), changed(start.student, **plain)
    taught = [Lesson(f"r{n}", student, train, f"r{n - 1}", curate) for n in range(1, rounds + 1)]
    return [Lesson("r0", supervised(start, **plain), train), *taught]


def fixmatch(start: Base, steps: int, threshold: float = 0.95) -> list[Lesson]:
    """Sohn et al. 2020 in this engine, for `steps`: the student's net and noise, lambda = 1, all of the pool.

    The stored labels are not looked at; there is no smoothing, with which nothing would reach 0.95.
    """
    own = {"method": "fixmatch", "threshold": threshold, "weight": 1 / start.student.ratio}
    spec = changed(start.student, steps=steps, consistency=own)
    curate = changed(start.curate, threshold=0.0, per_class=None)
    return [Lesson("net", spec, changed(start.train, label_smoothing=0.0), None, curate)]


def wider_batch(start: Base) -> params.Train:
    """As many images a step as a student sees."""
    return changed(start.train, batch=start.train.batch * (1 + start.student.ratio))


CONSISTENT = {"method": "fixmatch", "threshold": 0.8, "weight": 1.0}
MAIN = {  # name: what the table says
    "supervised": "supervised only, the student's net, noise and steps",
    "supervised_light": "… with the first teacher's noise",
    "supervised_images": "… with as many images a step as a student",
    "pseudo_label": "plain pseudo-label",
    "noisy_student": "Noisy Student",
    "gentle": "crop and flip alone, soft labels of the whole pool, r2",
    "fixmatch": "FixMatch, as much computation as all rounds",
    "ours": "ours, best on validation",
    "full": "all labels of labeled and pool images (bound)",
}
ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "no_noise": (
        "student without any noise",
        {"student": {"noise": SILENT, "dropout": 0.0, "stochastic_depth": 0.0}},
    ),
    "no_augmentation": ("… without input noise", {"student": {"noise": SILENT}}),
    "hard_labels": ("hard labels", {"curate": {"labels": "hard"}}),
    "soft_labels": ("soft labels", {"curate": {"labels": "soft"}}),
    "no_filter": ("no threshold", {"curate": {"threshold": 0.0}}),
    "no_balance": ("no balance", {"curate": {"per_class": None}}),
    "same_size": ("student of the teacher's size", {}),
    "noised_teacher": ("the teacher labels under noise", {"noised_teacher": True}),
}
TECHNIQUES: dict[str, tuple[str, dict[str, Any]]] = {
    "last_fixmatch": ("last student learns by FixMatch (0.8)", {"last": {"consistency": CONSISTENT}}),
    "last_mean_teacher": (
        "last student learns from its average",
        {"last": {"consistency": CONSISTENT | {"method": "mean_teacher"}}},
    ),
    "aligned": ("pool's class shares estimated (EM)", {"curate": {"align": "estimated"}}),
    "adjusted": (
        "logit adjustment, balanced sampling off",
        {"student": {"logit_adjustment": 1.0}, "curate": {"per_class": None}},
    ),
    "ratio_6": ("six pool images a labeled one in the last round", {"last": {"ratio": 6}}),
}
CANDIDATES = ("noisy_student", "gentle", *ABLATIONS, *TECHNIQUES)  # among which `ours` is chosen
ROWS = (*MAIN, *ABLATIONS, *TECHNIQUES, "fixmatch_80")


def lessons(row: str, start: Base, fixmatch_steps: int) -> list[Lesson]:
    """The nets of a row in the order they are trained; the last one is what the row is about."""
    if row == "same_size":
        return chain(start, ABLATED, student={"width": start.teacher.width})
    if row in ABLATIONS:
        return chain(start, ABLATED, **ABLATIONS[row][1])
    if row in TECHNIQUES:
        return chain(start, ROUNDS, **TECHNIQUES[row][1])
    alone = Lesson("net", supervised(start), start.train)
    return {
        "noisy_student": chain(start, ROUNDS),
        "pseudo_label": pseudo_label(start),
        "gentle": gentle(start),
        "fixmatch": fixmatch(start, fixmatch_steps),
        "fixmatch_80": fixmatch(start, fixmatch_steps, 0.8),
        "supervised": [alone],
        "supervised_light": [replace(alone, spec=supervised(start, **light(start)))],
        "supervised_images": [replace(alone, train=wider_batch(start))],
        "full": [replace(alone, train=wider_batch(start), all_labels=True)],
    }[row]
