"""The FiftyOne data set of one round, made from rows and pictures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from pymongo import UpdateOne

from tasks.decisions import Decision, conflict_in_words, in_words
from tasks.review import documents, lineage, pictures, views, workspaces
from tasks.review.corrections import Row, is_clear
from tasks.review.documents import COUNTS, LABELS, NUMBERS, TEXTS
from tasks.review.pictures import Picture

MANY_CLASSES = 20  # from here on a list that unfolds beats radio buttons
SORTED_BY = ("confidence", "entropy", "margin", "queue_rank")
EDITABLE = ("review", "decision", "shown")
SIDEBAR = {
    "your corrections": ["review", "decision"],
    "tags": ["tags", "_label_tags"],
    "queue": ["queue_rank", "queue_reason"],
    "opinions": ["teacher", "student", "previous", "disagrees", "flow"],
    "trust": ["confidence", "entropy", "margin", "reason", "copies", "source", "round", "first_kept"],
    "lineage": lineage.SIDEBAR,
    "file": ["image_id", "image_source", "path"],
    "metadata": [f"metadata.{name}" for name in ("size_bytes", "mime_type", "width", "height", "num_channels")],
    "inside": ["id", "filepath", "shown", "created_at", "last_modified_at"],
}


def name_of(round_: str) -> str:
    """The name of a round's data set in FiftyOne."""
    return f"understudy-{round_}"


def create(
    fo: Any, round_: str, rows: pd.DataFrame, written: Iterable[tuple[str, Picture]], classes: Sequence[str]
) -> Any:
    """Make the data set anew, with its indexes, label schema, saved views, workspace and sidebar, and return it.

    `written` yields every image_id of the rows once, in any order. Until `finish` is called it is not persistent: what
    a killed build leaves behind, FiftyOne removes.
    """
    name = name_of(round_)
    if fo.dataset_exists(name):
        fo.delete_dataset(name)
    data = fo.Dataset(name)
    _declare(fo, data)
    documents.insert(data, documents.of(round_, rows, written))
    data.create_index("image_id", unique=True)
    for path in SORTED_BY:
        data.create_index(path)
    _freeze(data)
    _make_editable(data, classes)
    views.save(data, classes, is_queued=bool(rows["queue_rank"].notna().any()))
    workspaces.save(fo, data)
    _arrange(fo, data)
    return data


def finish(data: Any, key: str, table: str, pool: int, round_: str, classes: Sequence[str]) -> None:
    """Mark the data set as complete and lasting; `table` is the hash of the label table it shows, of `pool` images."""
    about = {"key": key, "table": table, "pool": pool, "round": round_, "classes": list(classes)}
    data.info = about | {"pictures": pictures.count(pictures.folder(round_))}
    data.persistent = True


def find(fo: Any, round_: str) -> Any | None:
    """The finished data set of a round, or None."""
    name = name_of(round_)
    data = fo.load_dataset(name) if fo.dataset_exists(name) else None
    return data if data is not None and data.persistent else None


def pictures_exist(data: Any) -> bool:
    """Whether as many pictures are there as were written: .work may have been deleted."""
    return bool(pictures.count(pictures.folder(data.info["round"])) == data.info.get("pictures"))


def read(data: Any) -> Iterator[Row]:
    """Every image as it stands now; empty text where FiftyOne has nothing."""
    for image_id, shown, label, tags in zip(*data.values(["image_id", "shown", "review.label", "tags"]), strict=True):
        yield Row(image_id or "(no image_id)", shown or "", label or "", tuple(tags or ()))


def disputed(data: Any) -> set[str]:
    """The images that are shown as in conflict: who says something about one has seen it."""
    from fiftyone import ViewField as F

    return set(data.match(F("decision").starts_with("conflict")).values("image_id"))


def show_conflicts(data: Any, conflicts: Mapping[str, Sequence[Decision]]) -> None:
    """Say on each image in conflict who said what."""
    for image_id, voices in conflicts.items():
        data.match({"image_id": image_id}).set_field("decision", conflict_in_words(voices)).save(["decision"])


def settle(data: Any, made: Iterable[Decision]) -> None:
    """Show decisions that stand in a ledger, or on their way to it: the label said, or the teacher's, and the words."""
    said = {decision.image_id: decision for decision in made}
    if said:
        view = data.select_by("image_id", list(said))
        teacher = dict(zip(*view.values(["image_id", "teacher.label"]), strict=True))
        show(data, {i: (said[i].new or name or "", in_words(said[i])) for i, name in teacher.items()})


def show(data: Any, rows: Mapping[str, tuple[str, str]]) -> None:
    """Set label and words of images, and count the label as the one shown: one write an image, so that a sync at the
    same time sees all of it or nothing.

    Tags are an inbox: those that a sync would act on are answered by this and taken off first, others stay.
    """
    if not rows:
        return
    view = data.select_by("image_id", list(rows))
    if tags := [tag for tag in view.distinct("tags") if is_clear(tag, data.info["classes"])]:
        view.untag_samples(tags)
    now = datetime.now(UTC)
    writes = []
    for image_id, (label, words) in rows.items():
        new = {"review": documents.label(label or None), "shown": label, "decision": words, "last_modified_at": now}
        writes.append(UpdateOne({"image_id": image_id}, {"$set": new}))
    data._bulk_write(writes)


def picture_metadata(fo: Any, picture: Picture) -> Any:
    """What FiftyOne wants to know of an image file."""
    return fo.ImageMetadata(
        size_bytes=picture.size,
        mime_type=picture.mime,
        width=picture.width,
        height=picture.height,
        num_channels=picture.channels,
    )


def _declare(fo: Any, data: Any) -> None:
    """Every field with its description, also those that are empty in this round; only EDITABLE ones may change."""
    for name, words in LABELS.items():
        kind, inner = fo.EmbeddedDocumentField, fo.Classification
        data.add_sample_field(name, kind, embedded_doc_type=inner, description=words)
    for names, kind in ((TEXTS, fo.StringField), (NUMBERS, fo.FloatField), (COUNTS, fo.IntField)):
        for name, words in names.items():
            data.add_sample_field(name, kind, description=words, read_only=name not in EDITABLE)
    words = "Teacher and student name different classes"
    data.add_sample_field("disagrees", fo.BooleanField, description=words, read_only=True)
    lineage.declare(fo, data)


def _freeze(data: Any) -> None:
    """FiftyOne refuses to save a change of an opinion.

    Of labels the parts are frozen, for a frozen label as a whole breaks the App's Annotate tab (fiftyone 1.22.1).
    """
    for name in (f"{label}.{part}" for label in LABELS if label not in EDITABLE for part in ("label", "confidence")):
        field = data.get_field(name)
        field.read_only = True
        field.save()


def _make_editable(data: Any, classes: Sequence[str]) -> None:
    """Without an active label schema the App's Annotate tab has nothing to edit."""
    component = "radio" if len(classes) <= MANY_CLASSES else "dropdown"
    schema = {"type": "classification", "component": component, "classes": list(classes), "attributes": []}
    data.set_label_schemas({"review": schema})
    data.activate_label_schemas(["review"])


def _arrange(fo: Any, data: Any) -> None:
    """The sidebar: corrections first; on the pictures the label in `review` and the confidence."""
    closed = ("lineage", "file", "metadata", "inside")
    groups = [fo.SidebarGroupDocument(name=n, paths=p, expanded=n not in closed) for n, p in SIDEBAR.items()]
    data.app_config.sidebar_groups = groups
    data.app_config.active_fields = fo.ActiveFields(paths=["review", "confidence", "tags"])
    colors = {"review": "#c05a00", "confidence": "#4d4d4d", "teacher": "#6a5acd", "student": "#1f7a8c"}
    fields = [{"path": path, "fieldColor": color} for path, color in colors.items()]
    data.app_config.color_scheme = fo.ColorScheme(color_by="field", fields=fields)
    data.save()
