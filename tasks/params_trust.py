"""The settings about trust: how sure a net is, and how sure one may be of its labels."""

from pydantic import Field, field_validator

from tasks.params_data import Section


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
