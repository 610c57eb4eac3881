"""Stage `split`: which image trains, calibrates, compares, tests, and which are the pool; copies never on two sides."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks import copies, files, resolutions
from tasks.errors import TooManyBad, UserError
from tasks.leftovers import RETIRED, retire
from tasks.roles import REASON, Found, Labels, Roles, conserve, draw
from tasks.stage import Stage

PARAMS = ("seed", "split", "sources")
SHOWN = 5  # conflicts printed


def split(stage: Stage) -> None:
    """data/catalog and data/fingerprints in; data/split, data/sealed, data/test_ids and the label table r0 out."""
    for name in retire(stage.settings.sources):
        print(f"split: the settings no longer name the source {name!r}; its artefacts lie in {RETIRED / name} now")
    found, edges = _read(stage)
    roles = draw(found, stage.settings.split, stage.settings.seed)
    counts = conserve(found, roles)
    in_conflict = _conflict_table(stage, found, roles)
    _refuse_chaos(roles, found, stage.settings.split.duplicates.max_conflicts, in_conflict)
    folder, sealed = stage.output(files.SPLIT, origin=False), stage.output(files.SEALED, origin=False)
    files.write_json(found.classes, folder / "classes.json")
    for name in ("labeled", "calib", "gate"):
        _write(getattr(roles, name), "label", folder / f"{name}.parquet")
    files.write_table(_pool_table(roles.status, found), folder / "pool.parquet")
    files.write_table(copies.table(found, roles, edges), folder / "duplicates.parquet")
    files.write_table(in_conflict, folder / "conflicts.parquet")
    _write(roles.test, "label", sealed / "test.parquet")
    _write(roles.truth, "label", sealed / "truth.parquet")
    ids = pa.array(sorted(roles.test), pa.string())
    files.write_table(pa.table({"image_id": ids}), stage.output(files.TEST_IDS, origin=False) / "test.parquet")
    files.write_table(unlabeled_table(roles.status), stage.output(files.labels("r0"), origin=False) / "labels.parquet")
    stage.summary(**counts)
    _say(counts, roles, in_conflict)


def _say(counts: dict[str, int], roles: Roles, in_conflict: pa.Table) -> None:
    print("split: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    if roles.leaks:
        print(f"split: {roles.leaks} labeled images are in the test set too; they are not learnt from")
    if roles.near_leaks:
        print(f"split: {roles.near_leaks} labeled images are near copies of test images; they are not learnt from")
    if roles.conflicts:
        print("\n".join([f"split: {_conflict_lines(in_conflict)}", f"  they are not learnt from; {_settle()}"]))


def _conflict_lines(in_conflict: pa.Table) -> str:
    """How many images are in conflict, and the first ones."""
    rows = in_conflict.slice(0, SHOWN).to_pylist()
    lines = [f"  {row['image_id']} ({row['source']}: {row['path']}) is labeled {row['label']!r}" for row in rows]
    groups = pc.count_distinct(in_conflict["group"]).as_py()
    images = pc.count_distinct(in_conflict["image_id"]).as_py()
    more = [f"  and {in_conflict.num_rows - SHOWN} more"] if in_conflict.num_rows > SHOWN else []
    return "\n".join([f"{groups} pictures carry two labels ({images} images):", *lines, *more])


def _settle() -> str:
    return f"settle them in {files.CONFLICTS} (image_id,label,who,when); {files.SPLIT}/conflicts.parquet lists all"


def _refuse_chaos(roles: Roles, found: Found, max_conflicts: float, in_conflict: pa.Table) -> None:
    """So many contradictions are no slip of a hand: the labels of a whole source are likely wrong."""
    labeled = len(found.labeled | (found.test & set(roles.conflicts)))
    if len(roles.conflicts) > max_conflicts * labeled:
        share = f"{len(roles.conflicts)} of {labeled} labeled images ({len(roles.conflicts) / labeled:.1%}, allowed "
        what = f"{share}{max_conflicts:.1%}) contradict a copy of theirs. {_conflict_lines(in_conflict)}"
        fix = f"settle them in {files.CONFLICTS}, mend the labels, or raise split.duplicates.max_conflicts"
        raise TooManyBad("too_many_conflicts", what, fix)


def _conflict_table(stage: Stage, found: Found, roles: Roles) -> pa.Table:
    """group, image_id, label, source, path: a row for every place where an image in conflict was given a label."""
    wanted = pa.array(sorted(roles.conflicts), pa.string())
    rows = list[tuple[str, ...]]()
    for source in stage.settings.sources if roles.conflicts else ():
        given = files.read_table(files.catalog(source) / "labels.parquet", ["image_id", "label", "path"])
        for image_id, label, path in zip(
            *given.filter(pc.is_in(given["image_id"], wanted)).to_pydict().values(), strict=True
        ):
            names_of = roles.conflicts[image_id]  # what a person said stands here instead of what the source says
            said = label if label in names_of else min(names_of)
            rows.append((found.group(image_id), image_id, said, source, path))
    rows.sort()
    names = ("group", "image_id", "label", "source", "path")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return pa.table(columns, pa.schema([(name, pa.string()) for name in names]))


def _pool_table(status: dict[str, str], found: Found) -> pa.Table:
    ids = sorted(status)
    columns: dict[str, list[Any]] = {
        "image_id": ids,
        "status": [status[i] for i in ids],
        "source": [found.source_of[i] for i in ids],
        "group": [found.group_of.get(i) for i in ids],
    }
    return pa.table(columns, pa.schema([(name, pa.string()) for name in columns]))


def unlabeled_table(status: dict[str, str]) -> pa.Table:
    """The label table before the first round: a row for every image of the pool, none learnt from."""
    ids = sorted(status)
    nothing = [None] * len(ids)
    columns: dict[str, list[Any]] = {
        "image_id": ids,
        "label": nothing,
        "confidence": nothing,
        "soft": nothing,
        "weight": [0.0] * len(ids),
        "copies": [0] * len(ids),
        "round": ["r0"] * len(ids),
        "source": [""] * len(ids),
        "reason": [REASON[status[image_id]] for image_id in ids],
    }
    return pa.table(columns, files.LABEL_TABLE)


def _read(stage: Stage) -> tuple[Found, list[copies.Edge]]:
    lies_in: dict[str, set[str]] = {"labeled": set(), "pool": set(), "test": set()}
    given: dict[str, dict[str, set[str]]] = {"labeled": {}, "test": {}}
    source_of: dict[str, str] = {}
    side_of: dict[str, int] = {}
    classes: dict[str, None] = {}
    for source in stage.settings.sources:
        catalog = stage.input(files.catalog(source))
        images = files.read_table(catalog / "images.parquet", ["image_id", "origin", "width", "height"]).to_pydict()
        labels = files.read_table(catalog / "labels.parquet", ["image_id", "origin", "label"]).to_pydict()
        for image_id, origin, width, height in zip(*images.values(), strict=True):
            lies_in[origin].add(image_id)
            source_of.setdefault(image_id, source)
            side_of[image_id] = min(width, height)
        for image_id, origin, label in zip(*labels.values(), strict=True):
            given[origin].setdefault(image_id, set()).add(label)
        classes |= dict.fromkeys(files.read_json(catalog / "classes.json"))
    if not lies_in["labeled"]:
        what = f"no source brings a usable labeled image (sources: {', '.join(stage.settings.sources)})"
        raise UserError("no_labels", what, "label a few images of each class; see `Sources` in the README")
    wanted = stage.settings.split.duplicates
    folders = [stage.input(files.fingerprints(source)) for source in stage.settings.sources] if wanted.near else []
    edges = copies.find_all(folders, side_of, wanted.distance)
    label_of, several, settled = _settled(stage, given["labeled"] | given["test"], list(classes))
    group_of = copies.groups(edges)
    found = Found(
        list(classes), label_of, **lies_in, source_of=source_of, group_of=group_of, several=several, settled=settled
    )
    return found, edges


def _settled(
    stage: Stage, given: dict[str, set[str]], classes: list[str]
) -> tuple[Labels, dict[str, set[str]], frozenset[str]]:
    """The label of each image, the labels of those that have several, and the images that a person settled."""
    chosen = resolutions.read(stage.input(files.CONFLICTS))
    for image_id, label in chosen.items():
        if label not in classes:
            what = f"{files.CONFLICTS}: {label!r}, the label of image {image_id}, is no class"
            raise UserError("unknown_class", what, f"use one of {', '.join(classes)}")
    chosen = {image_id: label for image_id, label in chosen.items() if image_id in given}
    several = {i: names for i, names in given.items() if len(names) > 1 and i not in chosen}
    return {i: chosen.get(i, min(names)) for i, names in given.items()}, several, frozenset(chosen)


def _write(column: dict[str, str], name: str, path: Path) -> None:
    ids = sorted(column)
    schema = pa.schema([("image_id", pa.string()), (name, pa.string())])
    files.write_table(pa.table({"image_id": ids, name: [column[i] for i in ids]}, schema), path)
