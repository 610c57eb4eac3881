"""The FiftyOne data set of a blind audit: shuffled pictures, an empty field for the answer, and nothing else."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.review.answers import Row
from tasks.review.dataset import MANY_CLASSES, picture_metadata
from tasks.review.pictures import Picture

TO_DO = "not named yet"
VIEW = "not-named-yet"  # its address
CHOOSE = "(choose a class)"  # the App checks the first class of a new label by itself: it must not be an answer


def create(fo: Any, name: str, pictures: Iterable[tuple[str, Picture]], classes: Sequence[str]) -> None:
    """Make the data set anew. FiftyOne shows samples in the order they were added: give the pictures shuffled.

    It lasts once it is complete; what a killed build leaves behind, FiftyOne removes.
    """
    if fo.dataset_exists(name):
        fo.delete_dataset(name)
    data = fo.Dataset(name)
    data.add_sample_field(
        "answer",
        fo.EmbeddedDocumentField,
        embedded_doc_type=fo.Classification,
        description="What the image is: choose a class in Annotate, or tag it class:NAME, unsure or none",
    )
    data.add_samples(_samples(fo, pictures), progress=False)
    component = "radio" if len(classes) <= MANY_CLASSES else "dropdown"
    schema = {"type": "classification", "component": component, "classes": [CHOOSE, *classes], "attributes": []}
    data.set_label_schemas({"answer": schema})
    data.activate_label_schemas(["answer"])
    _arrange(fo, data)
    data.persistent = True


def find(fo: Any, name: str) -> Any | None:
    """The complete data set of that name, or None."""
    data = fo.load_dataset(name) if fo.dataset_exists(name) else None
    return data if data is not None and data.persistent else None


def read(data: Any) -> Iterator[Row]:
    """Every picture as it stands now, by its name."""
    for path, label, tags in zip(*data.values(["filepath", "answer.label", "tags"]), strict=True):
        yield Row(Path(path).stem, "" if label in (None, CHOOSE) else label, tuple(tags or ()))


def _samples(fo: Any, pictures: Iterable[tuple[str, Picture]]) -> Iterator[Any]:
    for _, picture in pictures:
        yield fo.Sample(filepath=str(picture.path), metadata=picture_metadata(fo, picture))


def _arrange(fo: Any, data: Any) -> None:
    """A view of what is left to do, and a sidebar that begins with the answer."""
    from fiftyone import ViewField as F

    label = F("answer.label")
    is_open = (label == None) | (label == CHOOSE)  # noqa: E711  (an expression of MongoDB; is_in finds no missing field)
    unnamed = is_open & (F("tags").length() == 0)
    data.save_view(TO_DO, data.match(unnamed), description="Pictures without an answer or a tag")
    groups = {"your answer": ["answer"], "tags": ["tags", "_label_tags"]}
    inside = ["id", "filepath", "created_at", "last_modified_at"]
    inside += [f"metadata.{part}" for part in ("size_bytes", "mime_type", "width", "height", "num_channels")]
    documents = [fo.SidebarGroupDocument(name=name, paths=paths) for name, paths in groups.items()]
    documents.append(fo.SidebarGroupDocument(name="inside", paths=inside, expanded=False))
    data.app_config.sidebar_groups = documents
    data.app_config.active_fields = fo.ActiveFields(paths=["answer", "tags"])
    data.save()
