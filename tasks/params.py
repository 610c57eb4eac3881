"""params.yaml as strict, frozen, typed settings: one class a section, every key described and bounded.

Unknown keys, wrong types and values out of range are refused before any work. DVC hashes the same file, so nothing here
has a default: what a run used is what the file says.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tasks import yaml_file
from tasks.errors import UserError
from tasks.explain import explain_all
from tasks.nets.names import mistake

PARAMS_FILE = Path("params.yaml")
SOURCE_NAME = r"^[a-z][a-z_][a-z0-9_]{0,30}$"  # stands in file names; r1 is a round


class Section(BaseModel):
    """Base of all sections: unknown keys refused, no silent conversion of types, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Digits(Section):
    """scikit-learn's handwritten digits, which come with it."""

    kind: Literal["digits"] = Field(description="scikit-learn's 1,797 handwritten digits.")
    path: str = Field(min_length=1, description="The module that reads them: what DVC watches for changes.")


class Folder(Section):
    """Image files in folders."""

    kind: Literal["folder"] = Field(description="Image files in folders.")
    path: str = Field(min_length=1, description="The folder: what is read, and what DVC watches for changes.")
    layout: Literal["understudy", "split", "classes", "pool"] = Field(
        default="understudy",
        description="`understudy` (also where the key is absent): labeled/<class>/…, pool/…, test/<class>/…. `split`: "
        "train/<class>/…, test/<class>/… or val/<class>/…, unlabeled/…. `classes`: <class>/…, all labeled. "
        "`pool`: everything is unlabeled.",
    )


class Manifest(Section):
    """Tables that name images or hold them."""

    kind: Literal["manifest"] = Field(description="Parquet, CSV or JSON Lines tables that name images or hold them.")
    path: str = Field(
        min_length=1,
        description="What is read, and what DVC watches for changes: one table, or a folder with the tables (train, "
        "pool, test, or just one). Where the images lie beside the table, name the folder: DVC then sees them change.",
    )


class Torchvision(Section):
    """A data set that torchvision knows by name."""

    kind: Literal["torchvision"] = Field(description="A data set that torchvision knows by name.")
    name: Literal["MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100", "SVHN", "STL10", "USPS"] = Field(
        description="Its name there. SVHN's extra and STL10's unlabeled images are the pool."
    )
    path: str = Field(
        min_length=1,
        description="The folder (torchvision's `root`) where its files lie, or are downloaded to when they do not.",
    )


Source = Digits | Folder | Manifest | Torchvision


class Ingest(Section):
    """How images are checked and taken in."""

    max_pixels: int = Field(ge=64, le=1_000_000_000, description="Larger images are quarantined before decoding.")
    max_seconds: float = Field(
        gt=0, le=3600, description="An image that takes longer to decode is quarantined; its decoder is ended."
    )
    max_memory_mb: int = Field(
        ge=128,
        le=1_048_576,
        description="Address space of a process that decodes images, one per core; an image that needs more is "
        "quarantined.",
    )
    max_bad_fraction: float = Field(
        ge=0, le=1, description="The run stops (exit 3) when a larger share of the files is unusable."
    )


class Scan(Section):
    """How a source that grows is looked over; none of it can change a result."""

    settle_seconds: float = Field(
        ge=0,
        le=3600,
        description="Nothing is read before the youngest file is this old: a file that is still being copied in looks "
        "damaged. Set it to 60 or so where runs are scheduled and files may arrive at any time.",
    )
    rehash: float = Field(
        ge=0,
        le=1,
        description="Share of the unchanged files (same size, time and inode) that a run reads all the same, others "
        "each time: finds damaged disks and edits that kept the time (exit 5).",
    )


class Image(Section):
    """The form in which every net sees an image."""

    size: int = Field(
        ge=8, le=1024, description="Side in pixels: the shorter side is scaled to it, the middle is cut out."
    )
    channels: Literal[1, 3] = Field(description="1 = grey, 3 = colour.")
    background: int = Field(ge=0, le=255, description="Grey value put behind transparent pixels.")


class Cache(Section):
    """Decoded images under .work/decoded, which later passes read back; none of it can change a result."""

    max_gb: float = Field(
        ge=0, le=1_000_000, description="Most disk it takes, in 10^9 bytes; the longest unused goes first. 0 = off."
    )


class Duplicates(Section):
    """Which images count as copies of each other. A group of copies stands on one side of the split."""

    near: bool = Field(
        description="Also find copies that were encoded again, resized or mirrored. Exact copies are always found."
    )
    distance: float = Field(
        gt=0,
        le=0.3,
        description="How far copies may differ: the root mean square difference of two small grey versions over their "
        "contrast. 0.2 finds 99 % of copies of photographs; lower it for handwriting and drawings, which are alike. "
        "Images smaller than 16 pixels are held to 0.08 at most.",
    )
    max_conflicts: float = Field(
        ge=0,
        le=1,
        description="The run stops (exit 3) when a larger share of the labeled images carries two labels; "
        "fewer are set aside until a person resolves them.",
    )


class Split(Section):
    """How many labels go where. Drawn by the seed; the same image never stands on two sides."""

    labels: int | None = Field(
        ge=1,
        description="Labels to train on, the same number of each class; the rest of a labeled source becomes pool, "
        "its labels hidden truth that only `evaluate` reads. null = every label given.",
    )
    test: int = Field(ge=0, description="Images sealed for the test when the source brings no test set of its own.")
    calib: int = Field(ge=0, description="Labels kept aside for calibration, beside `labels`.")
    gate: int = Field(ge=0, description="Labels kept aside to compare student and teacher, beside `labels`.")
    duplicates: Duplicates = Field(description="Which images count as copies of each other.")


class Train(Section):
    """The optimiser, shared by teacher, baseline and students."""

    batch: int = Field(ge=1, le=65536, description="Labeled images per step.")
    lr: float = Field(gt=0, le=100, description="Peak learning rate (SGD with Nesterov momentum).")
    momentum: float = Field(ge=0, lt=1, description="Momentum of SGD.")
    weight_decay: float = Field(ge=0, le=1, description="L2 decay, on convolution and linear weights.")
    warmup: int = Field(ge=0, description="Steps of linear warm-up; a cosine to zero follows.")
    ema: float = Field(
        ge=0, lt=1, description="Decay of the averaged net, the one that labels and is evaluated. 0 = off."
    )
    label_smoothing: float = Field(
        ge=0, lt=1, description="Smoothing of the labeled loss (soft pseudo-labels get none)."
    )
    clip: float = Field(ge=0, description="Largest norm of the gradient. 0 = off.")
    checkpoint_every: int = Field(ge=1, description="Steps between checkpoints: what a kill can cost.")


class Noise(Section):
    """Input noise. It is on while a net learns and never while it labels."""

    num_ops: int = Field(ge=0, le=16, description="RandAugment N: operations per image. 0 = off.")
    magnitude: float = Field(ge=0, le=40, description="RandAugment M in the paper's scale: M/10 of the range.")
    crop: int = Field(ge=0, le=128, description="Pixels of reflected border before a random crop. 0 = off.")
    flip: bool = Field(description="Mirror half of the images. Off for digits and letters.")
    cutout: int = Field(ge=0, le=512, description="Side of the erased square in pixels. 0 = off.")


class Net(Section):
    """One net and its training."""

    net: str = Field(
        min_length=1,
        description="lenet5, alexnet, vgg11, vgg16 (as published; `alexnet_small`, `vgg11_small`, `vgg16_small` for "
        "small images), resnet9, wrn10, wrn10mp, wrn16, wrn28, or `torchvision/NAME`.",
    )
    width: int = Field(ge=1, le=64, description="Widening factor: how a student is made larger than its teacher.")
    steps: int = Field(ge=1, description="Optimiser steps.")
    dropout: float = Field(ge=0, lt=1, description="Dropout before the last layer.")
    stochastic_depth: float = Field(
        ge=0, lt=1, description="Chance to skip the last residual block; earlier ones linearly less."
    )
    noise: Noise = Field(description="Input noise while this net learns.")


class Student(Net):
    """A net that also learns from the pseudo-labels of its round."""

    ratio: int = Field(ge=1, le=64, description="Pseudo-labeled images per labeled image in a step.")


class Label(Section):
    """Reading the teacher's mind about the pool."""

    batch: int = Field(ge=1, le=65536, description="Images per forward pass.")
    chunk: int = Field(ge=1, le=1_000_000, description="Images per committed chunk: what a kill can cost.")


class Curate(Section):
    """Which pseudo-labels are trusted. Changing it never needs another teacher pass."""

    threshold: float = Field(ge=0, le=1, description="Least confidence of a kept pseudo-label.")
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


class Run(Section):
    """How Prefect runs the stages; none of it can change a result."""

    retries: int = Field(ge=0, le=10, description="Further tries for a stage that was busy or was killed.")
    retry_delay: float = Field(ge=0, le=3600, description="Seconds between tries.")


class Review(Section):
    """How FiftyOne shows the labels; none of it can change a result."""

    limit: int = Field(ge=1, le=5_000_000, description="Most images in one review data set: the most uncertain ones.")
    port: int = Field(ge=1024, le=65535, description="Port of the FiftyOne App on this machine.")


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
    label: Label = Field(description="Reading the teacher's mind about the pool.")
    rounds: dict[Annotated[str, Field(pattern=r"^r[1-9]\d*$")], Round] = Field(
        min_length=1, description="The rounds, r1 first. One entry more is one round more."
    )
    report: Report = Field(description="The report.")
    run: Run = Field(description="How Prefect runs the stages.")
    review: Review = Field(description="How FiftyOne shows the labels.")

    @model_validator(mode="after")
    def _nets_exist(self) -> "Settings":
        nets = {"teacher": self.teacher, "baseline": self.baseline}
        nets |= {f"rounds.{key}.student": entry.student for key, entry in self.rounds.items()}
        for key, net in nets.items():
            if problem := mistake(net.net, net.width, net.stochastic_depth):
                raise ValueError(f"{key}.net: {problem}")
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
            if entry.student.net == teacher.net and entry.student.width < teacher.width:
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
