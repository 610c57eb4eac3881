"""The settings about images: sources, how they are taken in and seen, copies, and how labels are split."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
