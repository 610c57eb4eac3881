"""The settings about trust: how sure a net is, and how sure one may be of its labels."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from tasks.params_data import Section

Corruption = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
]


class Audit(Section):
    """Blind audits of accepted labels (`understudy audit`); none of it can change a label."""

    n: int = Field(ge=1, le=100_000, description="Draws of an audit, where --n does not say otherwise.")
    planted: float = Field(
        ge=0,
        le=0.5,
        description="Images of known class planted among them, as a share of n: they measure the reviewer.",
    )
    at_least: float = Field(
        gt=0, lt=1, description="The precision an audit shows a class to have, or does not (Holm over the classes)."
    )


class Calibrate(Section):
    """Out-of-sample predictions of labeled images, which calibration and `target_precision` are computed from."""

    folds: int = Field(
        ge=0,
        le=20,
        description="Nets trained once more, each without one part of the labels, to ask about that part; used only "
        "while `split.calib` is 0. Each costs as much as the training itself. 0 = none, else 2 or more.",
    )

    @field_validator("folds")
    @classmethod
    def _one_fold_leaves_nothing_to_learn_from(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("one fold leaves no labels to learn from; set 0 (none) or 2 and more")
        return folds


class Gate(Section):
    """When a student takes its teacher's place: judged on the images of `split.gate`, in pairs (docs/trust.md)."""

    margin: float = Field(
        gt=0,
        le=1,
        description="Accuracy a student may lose: 0.005 is half a point. It is promoted when more is ruled out.",
    )
    recall: float = Field(
        gt=0,
        le=1,
        description="It is held when a class's recall is shown to have fallen, and did so by more than this on the "
        "gate's images.",
    )
    ece: float = Field(gt=0, le=1, description="It is held when its calibration error is shown to be larger by this.")
    max_holds: int = Field(
        ge=1, le=100, description="The loop stops (exit 4) when the gate held so many students in a row."
    )
    unsure: Literal["promote", "hold"] = Field(
        description="What to do when these images cannot tell. Without gate images every student is promoted."
    )


class Drift(Section):
    """Drift between runs, and pools that are not what the labels are of. A change here never retrains a net."""

    action: Literal["hold", "report"] = Field(
        description="On an alarm: `hold` ends the run with exit 4 before a student learns from the labels, `report` "
        "goes on and says so in the report."
    )
    max_shift: float = Field(
        ge=0,
        le=1,
        description="Share of the pool, of a source, or of its new images that may look foreign to the teacher. Only "
        "what is beyond chance counts.",
    )
    false_alarm: float = Field(
        gt=0, le=0.5, description="Chance that a run with nothing foreign in it raises an alarm about `max_shift`."
    )
    confident: float = Field(ge=0, le=1, description="Confidence above which a label counts as one the run is sure of.")
    max_confident_flips: float = Field(
        ge=0,
        le=1,
        description="Share of the labels that the run before was sure of that may now be others. From `runs` runs on, "
        "what was usual (3 standard deviations) takes its place.",
    )
    runs: int = Field(ge=2, le=1000, description="Earlier runs without an alarm that it takes to know what is usual.")
    history: int = Field(ge=1, le=100_000, description="Runs that are remembered.")


class Robustness(Section):
    """Teacher and student on test images made worse: for the report alone, no decision rests on it (docs/trust.md)."""

    images: int = Field(
        ge=0,
        description="Test images to use, drawn by `seed`, the same in every round. 0 = off: not measured. Each goes "
        "through both nets 5 times a corruption, 6 times `frames` and 2 + `pgd_steps` times an `eps`.",
    )
    corruptions: Literal["all"] | list[Corruption] = Field(
        description="`all` 15 of Hendrycks & Dietterich in 5 severities, or some by name; `[]` = none."
    )
    frames: int = Field(ge=0, le=31, description="Frames of each sequence of small shifts; 31 as published. 0 = off.")
    eps: list[Annotated[float, Field(gt=0, le=255)]] = Field(
        description="Strengths of the attacks FGSM and PGD: how far a pixel value of 0 to 255 may move. `[]` = none."
    )
    pgd_steps: int = Field(ge=0, le=1000, description="Steps of PGD. 0 = FGSM alone.")

    @field_validator("frames")
    @classmethod
    def _two_frames_make_a_sequence(cls, frames: int) -> int:
        if frames == 1:
            raise ValueError("robustness.frames: one frame is no sequence; allowed: 0 (off) or 2 to 31")
        return frames

    @field_validator("corruptions", "eps")
    @classmethod
    def _none_twice(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, list) and len(set(value)) < len(value):
            raise ValueError(f"robustness.{info.field_name}: {value} names one of them twice")
        return value


class Hold(Section):
    """When a round is held (exit 4) before a student learns from labels that cannot be right (docs/trust.md)."""

    starvation: bool = Field(
        description="Hold when a class gets no pseudo-label though its share of the labels would give some."
    )
    min_classes: float = Field(
        ge=0,
        le=1,
        description="Hold when the effective number of classes, exp(entropy) of the kept labels, falls below this "
        "share of the round before. 0 = off.",
    )
    chance: bool = Field(
        description="Hold when the teacher is not shown to be better than chance on labels it did not learn from."
    )
    max_label_error: float = Field(
        gt=0,
        le=1,
        description="Hold when more of the given labels than this are shown to be contradicted by nets that did not "
        "learn from them. 1 = off.",
    )
