"""The settings of a review: how FiftyOne shows the labels. None of it can change a result."""

from typing import Literal

from pydantic import Field, model_validator

from tasks.params_data import Section


class Queue(Section):
    """What `understudy review --budget N` is mixed from: a random slice, then lists by weight (docs/review.md)."""

    random: float = Field(
        ge=0, le=1, description="Share of the queue drawn evenly from all labels: it estimates how many are right."
    )
    neighbours: int = Field(ge=1, le=1000, description="Images whose labels vote on an image, by the net's features.")
    disagreement: float = Field(ge=0, description="Weight of labels that a net of some round contradicts.")
    atypical: float = Field(ge=0, description="Weight of labels that the images nearest to it contradict.")
    copies: float = Field(ge=0, description="Weight of near copies with different labels.")
    rare_class: float = Field(ge=0, description="Weight of classes with less than half of an even share.")
    threshold: float = Field(ge=0, description="Weight of confidences next to what their class asks for.")

    @model_validator(mode="after")
    def _something_to_show(self) -> "Queue":
        if not self.random and not any(self.weights().values()):
            raise ValueError("every weight is 0, and so is the random slice: nothing would be queued")
        return self

    def weights(self) -> dict[str, float]:
        """The weight of each list."""
        return self.model_dump(exclude={"random", "neighbours"})


class Review(Section):
    """How FiftyOne shows the labels; none of it can change a result."""

    limit: int = Field(ge=1, le=5_000_000, description="Most images in one review data set: the most uncertain ones.")
    port: int = Field(ge=1024, le=65535, description="Port of the FiftyOne App on this machine.")
    features: int = Field(
        ge=0,
        le=5_000_000,
        description="Most images the newest net looks at again, for the map, similar images and the queue. 0 = none.",
    )
    map: Literal["pca", "tsne"] = Field(
        description="How features become points: `pca` in a second; `tsne` keeps neighbours together, in a minute "
        "or two for 5,000 images."
    )
    queue: Queue = Field(description="What a queue with a budget is mixed from.")
