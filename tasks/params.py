"""params.yaml as strict, frozen, typed settings: one class a section, every key described and bounded.

Unknown keys, wrong types and values out of range are refused before any work. DVC hashes the same file, so nothing here
has a default: what a run used is what the file says. The sections about images and their sources are in
params_data.py, about nets in params_nets.py, about trust in params_trust.py, about when things run in params_runs.py.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from tasks import yaml_file
from tasks.errors import UserError
from tasks.explain import explain_all
from tasks.nets.names import AUTO, mistake
from tasks.params_data import (
    Cache,
    Digits,
    Duplicates,
    Folder,
    Image,
    Ingest,
    Manifest,
    Scan,
    Section,
    Source,
    Split,
    Torchvision,
)
from tasks.params_nets import Consistency, Distilled, FixRes, Net, Noise, Start, Stop, Student, Taught, Train
from tasks.params_review import Review
from tasks.params_runs import Alerts, Relabel, Run, Schedule
from tasks.params_trust import Audit, Calibrate, Drift, Gate, Hold, Robustness

__all__ = [  # params.Image and the like, wherever a section is defined
    "Alerts",
    "Audit",
    "Cache",
    "Calibrate",
    "Consistency",
    "Digits",
    "Distilled",
    "Drift",
    "Duplicates",
    "FixRes",
    "Folder",
    "Gate",
    "Hold",
    "Image",
    "Ingest",
    "Manifest",
    "Net",
    "Noise",
    "Relabel",
    "Review",
    "Robustness",
    "Run",
    "Scan",
    "Schedule",
    "Section",
    "Source",
    "Split",
    "Start",
    "Stop",
    "Student",
    "Taught",
    "Torchvision",
    "Train",
]
PARAMS_FILE = Path("params.yaml")
SOURCE_NAME = r"^[a-z][a-z_][a-z0-9_]{0,30}$"  # stands in file names; r1 is a round


class Label(Section):
    """Reading the teacher's mind about the pool."""

    batch: int = Field(ge=1, le=65536, description="Images per forward pass.")
    chunk: int = Field(ge=1, le=1_000_000, description="Images per committed chunk: what a kill can cost.")


class Curate(Section):
    """Which pseudo-labels are trusted. Changing it never needs another teacher pass."""

    calibration: Literal["none", "temperature", "per_class"] = Field(
        description="Corrects the stored probabilities by what held-out labels say of the teacher: one temperature, or "
        "also a bias for each class. Needs `split.calib` or `calibrate.folds`."
    )
    threshold: float = Field(ge=0, le=1, description="Least confidence of a kept pseudo-label.")
    target_precision: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        description="Instead of `threshold`: each class takes the lowest confidence at which held-out labels show that "
        "at least this share of its labels is right (one-sided 95 % bound). null = `threshold`."
    )
    unreachable: Literal["review", "soft"] = Field(
        description="Classes that do not reach `target_precision`: left to people (reason `below_promise`), or learnt "
        "from with the teacher's distribution from `threshold` on (reason `kept_soft`)."
    )
    adaptive: Literal["none", "flexmatch", "freematch"] = Field(
        description="A threshold for each class. `flexmatch`: `threshold` lowered where the teacher is sure of few "
        "images. `freematch`: from the mean confidence and the classes' mean probabilities; `threshold` has no effect."
    )
    align: Literal["none", "uniform", "labeled", "estimated"] | dict[str, Annotated[float, Field(ge=0)]] = Field(
        description="Class shares the pool's probabilities are moved to: all equal, those of the labeled images, those "
        "estimated for the pool (EM), or yours, as a mapping of every class to its share."
    )
    source_cap: float | None = Field(
        gt=0,
        description="Most images kept from one source: a whole number from 1 on, or below 1 the largest share of all "
        "that pass the threshold. null = no cap.",
    )
    per_class: Annotated[int, Field(ge=1)] | Literal["mean"] | None = Field(
        description="Images wanted of each class, the most confident first; rarer classes are duplicated up to it. "
        "`mean`: the mean count of the kept ones. null = no balancing."
    )
    max_copies: int = Field(ge=1, le=1000, description="Most often an image of a rare class may be duplicated.")
    labels: Literal["soft", "hard"] = Field(description="Learn the teacher's distribution, or only its best class.")
    temperature: float = Field(
        gt=0, le=100, description="Softens (>1) or sharpens (<1) the stored probabilities first."
    )
    max_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        description="The run is held (exit 4) when one class takes a larger share of the kept labels. null = halfway "
        "between an even share and all of them: 75 % of two classes, 55 % of ten."
    )

    @model_validator(mode="after")
    def _cap_is_a_count_or_a_share(self) -> "Curate":
        cap = self.source_cap
        if cap is not None and cap > 1 and not cap.is_integer():
            raise ValueError(f"source_cap: {cap} is neither a whole number from 1 on nor a share below 1")
        if not isinstance(self.align, str) and not sum(self.align.values()) > 0:
            raise ValueError("align: the shares of the classes are all 0, or there are none")
        if self.target_precision is not None and self.adaptive != "none":
            raise ValueError(f"adaptive: {self.adaptive} sets thresholds, and so does target_precision; choose one")
        return self


class Round(Section):
    """One turn of the loop: a teacher labels, the labels are curated, a student learns."""

    teacher: str = Field(
        pattern=r"^r\d+$", description="Whose labels: `r0` is the first teacher, `rK` the student of round K."
    )
    curate: Curate = Field(description="Which pseudo-labels are trusted.")
    student: Student = Field(description="The net of this round, at least as large as its teacher.")


class Report(Section):
    """The report."""

    title: str = Field(min_length=1, description="Headline of the report.")


class Settings(Section):
    """All of params.yaml."""

    seed: int = Field(ge=0, lt=2**31, description="Every random act derives from it.")
    sources: dict[Annotated[str, Field(pattern=SOURCE_NAME)], Annotated[Source, Field(discriminator="kind")]] = Field(
        min_length=1, description="Where the images come from: one entry a source, by a name of your own."
    )
    ingest: Ingest = Field(description="How images are checked and taken in.")
    scan: Scan = Field(description="How a source that grows is looked over.")
    image: Image = Field(description="The form in which every net sees an image.")
    cache: Cache = Field(description="Decoded images, kept for later passes.")
    split: Split = Field(description="How many labels go where.")
    train: Train = Field(description="The optimiser, shared by all nets.")
    teacher: Net = Field(description="The first teacher, r0: learns from the labels alone.")
    baseline: Net = Field(
        description="The supervised-only net every student is held against; give it the last student's budget."
    )
    calibrate: Calibrate = Field(description="Out-of-sample predictions of labeled images.")
    label: Label = Field(description="Reading the teacher's mind about the pool.")
    hold: Hold = Field(description="When labels are not learnt from at all.")
    gate: Gate = Field(description="When a student takes its teacher's place.")
    approval: Literal["auto", "manual"] = Field(
        description="`manual`: a student that the gate would promote, or cannot tell about, waits (exit 4) until "
        "somebody decides: `understudy approve`, or the form of a suspended run. `auto`: the gate decides."
    )
    rounds: dict[Annotated[str, Field(pattern=r"^r[1-9]\d*$")], Round] = Field(
        min_length=1, description="The rounds, r1 first. One entry more is one round more."
    )
    drift: Drift = Field(description="When a run is held because the pool or its labels moved.")
    robustness: Robustness = Field(description="How well the nets stand worse images.")
    distill: dict[Annotated[str, Field(pattern=SOURCE_NAME)], Distilled] = Field(
        description="Small nets to make of the champion, for deployment: one entry a net, by a name of your own. "
        "{} = none."
    )
    report: Report = Field(description="The report.")
    schedule: Schedule = Field(description="When new images are looked for.")
    relabel: Relabel = Field(description="What follows when there are new images.")
    alerts: Alerts = Field(description="Who is told.")
    run: Run = Field(description="How Prefect runs the stages.")
    review: Review = Field(description="How FiftyOne shows the labels.")
    audit: Audit = Field(description="Blind audits of accepted labels.")

    @model_validator(mode="after")
    def _nets_exist(self) -> "Settings":
        nets = {"teacher": self.teacher, "baseline": self.baseline}
        nets |= {f"rounds.{key}.student": s.student for key, s in self.rounds.items() if s.student.net != AUTO}
        nets |= {f"distill.{name}": entry for name, entry in self.distill.items()}
        for key, net in nets.items():
            if problem := mistake(net.net, net.width, net.stochastic_depth):
                raise ValueError(f"{key}.net: {problem}")
        return self

    @model_validator(mode="after")
    def _something_is_held_out(self) -> "Settings":
        for key, entry in self.rounds.items():
            wish = "calibration" if entry.curate.calibration != "none" else "target_precision"
            wanted = entry.curate.calibration != "none" or entry.curate.target_precision is not None
            if wanted and not self.split.calib and not self.calibrate.folds:
                raise ValueError(
                    f"rounds.{key}.curate.{wish}: {getattr(entry.curate, wish)} needs labels that no net learns from; "
                    "set split.calib, or calibrate.folds to 5"
                )
        return self

    @model_validator(mode="after")
    def _rounds_form_a_chain(self) -> "Settings":
        sizes: dict[str, Net] = {"r0": self.teacher}
        for key, entry in self.rounds.items():
            if entry.teacher not in sizes:
                raise ValueError(
                    f"rounds.{key}.teacher: {entry.teacher!r} comes from no earlier round; known: {', '.join(sizes)}"
                )
            teacher = sizes[entry.teacher]
            if entry.student.net == teacher.net != AUTO and entry.student.width < teacher.width:
                raise ValueError(
                    f"rounds.{key}.student.width: {entry.student.width} is smaller than its teacher's {teacher.width}; "
                    f"allowed: {teacher.width} or more (Noisy Student grows the net, it does not shrink it)"
                )
            sizes[key] = entry.student
        return self


def load(path: Path = PARAMS_FILE) -> Settings:
    """Read and check the settings; UserError lists every problem with key, allowed values and the nearest known key."""
    raw = yaml_file.read(path)
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        problems = "\n".join(f"  - {line}" for line in explain_all(error.errors(), raw, Settings))
        raise UserError(
            "bad_settings", f"{path}:\n{problems}", f"edit {path}; docs/params.md lists every key"
        ) from None


def value_at(settings: Settings, key: str) -> Any:
    """The plain value under a dotted key such as `rounds.r1.curate`, as DVC would hash it."""
    node: Any = settings.model_dump(mode="json")
    for part in key.split("."):
        node = node[part]
    return node
