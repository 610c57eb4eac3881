"""Stage `split`: which image trains, calibrates, compares, tests, and which are the pool.

Everything is drawn by sha256(seed:image_id): the order of the rows and the rest of the data set cannot move an image.
An image that lies in several places has one role: test before labeled before pool.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks import files, params
from tasks.errors import UserError
from tasks.stage import Stage

PARAMS = ("seed", "split", "sources")
REASON = {"pool": "unlabeled", "held_out": "held_out", "duplicate": "duplicate"}

Labels = dict[str, str]  # image_id -> class name


@dataclass(frozen=True, slots=True)
class Found:
    """The catalog: labels by image_id, and which images lie where (an image may lie in several places)."""

    classes: list[str]
    label_of: Labels
    labeled: set[str]
    pool: set[str]
    test: set[str]
    source_of: dict[str, str] = field(default_factory=dict)  # the first source that holds an image


@dataclass(frozen=True, slots=True)
class Roles:
    """One role for every image. `status` has a row for each image of the pool, also where its role is another one."""

    labeled: Labels
    calib: Labels
    gate: Labels
    test: Labels
    status: dict[str, str]
    truth: Labels
    leaks: int  # labeled images taken out because they are in the test set too


def split(stage: Stage) -> None:
    """data/catalog in; data/split, data/sealed and the label table r0 out."""
    found = _read(stage)
    roles = draw(found, stage.settings.split, stage.settings.seed)
    counts = conserve(found, roles)
    folder, sealed = stage.output(files.SPLIT, origin=False), stage.output(files.SEALED, origin=False)
    files.write_json(found.classes, folder / "classes.json")
    for name in ("labeled", "calib", "gate"):
        _write(getattr(roles, name), "label", folder / f"{name}.parquet")
    files.write_table(_pool_table(roles.status, found.source_of), folder / "pool.parquet")
    _write(roles.test, "label", sealed / "test.parquet")
    _write(roles.truth, "label", sealed / "truth.parquet")
    files.write_table(unlabeled_table(roles.status), stage.output(files.labels("r0"), origin=False) / "labels.parquet")
    stage.summary(**counts)
    print("split: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    if roles.leaks:
        print(f"split: {roles.leaks} labeled images are in the test set too; they are not learnt from")


def draw(found: Found, wanted: params.Split, seed: int) -> Roles:
    """Give every image its role. UserError when a class or the pool comes out empty or too small."""
    own_test = bool(found.test)
    labeled = sorted(found.labeled - found.test, key=lambda image_id: _key(seed, image_id))
    if not own_test and wanted.test >= len(labeled):
        what = f"split.test: {wanted.test} images wanted, but the source has {len(labeled)} labeled ones in all"
        raise UserError("too_few_labels", what, "lower split.test in params.yaml, or bring a test set")
    test = found.test if own_test else set(labeled[: wanted.test])
    by_class: dict[str, list[str]] = {name: [] for name in found.classes}
    for image_id in labeled:
        if image_id not in test:
            by_class[found.label_of[image_id]].append(image_id)
    takes = _takes(by_class, wanted)
    drawn: dict[str, set[str]] = defaultdict(set)
    for name, ids in by_class.items():
        start = 0
        for role, count in takes[name].items():
            drawn[role].update(ids[start : start + count])
            start += count
        drawn["pool"].update(ids[start:])
    status = _status(found, test, drawn)
    pool = [image_id for image_id, value in status.items() if value == "pool"]
    if not pool:
        raise UserError("empty_pool", "no unlabeled image is left for the pool", _pool_fix(wanted))

    def named(ids: set[str] | list[str]) -> Labels:
        return {image_id: found.label_of[image_id] for image_id in ids}

    return Roles(
        **{role: named(drawn[role]) for role in ("labeled", "calib", "gate")},
        test=named(test),
        status=status,
        truth=named([image_id for image_id in pool if image_id in found.label_of]),
        leaks=len(found.labeled & found.test),
    )


def conserve(found: Found, roles: Roles) -> dict[str, int]:
    """Counts of roles; every image has exactly one role and every image of the pool one status (C7)."""
    status = list(roles.status.values())
    counts = {name: len(getattr(roles, name)) for name in ("labeled", "calib", "gate", "test")}
    counts["pool"] = status.count("pool")
    everything = found.labeled | found.pool | found.test
    if sum(counts.values()) != len(everything):
        raise AssertionError(f"{len(everything)} images in, roles: {counts}")
    if not set(roles.status) <= everything or not found.pool <= set(roles.status):
        raise AssertionError("an image of the pool has no status")
    extra = {name: status.count(name) for name in ("held_out", "duplicate")}
    return {"images": len(everything), **counts, **extra, "truth": len(roles.truth), "leaks": roles.leaks}


def _pool_table(status: dict[str, str], source_of: dict[str, str]) -> pa.Table:
    ids = sorted(status)
    columns = {"image_id": ids, "status": [status[i] for i in ids], "source": [source_of[i] for i in ids]}
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


def _read(stage: Stage) -> Found:
    lies_in: dict[str, set[str]] = {"labeled": set(), "pool": set(), "test": set()}
    label_of: Labels = {}
    source_of: dict[str, str] = {}
    classes: dict[str, None] = {}
    for source in stage.settings.sources:
        catalog = stage.input(files.catalog(source))
        images = files.read_table(catalog / "images.parquet", ["image_id", "origin"]).to_pydict()
        labels = files.read_table(catalog / "labels.parquet", ["image_id", "label"]).to_pydict()
        for image_id, origin in zip(images["image_id"], images["origin"], strict=True):
            lies_in[origin].add(image_id)
            source_of.setdefault(image_id, source)
        label_of |= dict(zip(labels["image_id"], labels["label"], strict=True))
        classes |= dict.fromkeys(files.read_json(catalog / "classes.json"))
    if not lies_in["labeled"]:
        what = f"no source brings a usable labeled image (sources: {', '.join(stage.settings.sources)})"
        raise UserError("no_labels", what, "label a few images of each class; see `Sources` in the README")
    return Found(list(classes), label_of, **lies_in, source_of=source_of)


def _key(seed: int, image_id: str) -> str:
    return hashlib.sha256(f"{seed}:{image_id}".encode()).hexdigest()


def _takes(by_class: dict[str, list[str]], wanted: params.Split) -> dict[str, dict[str, int]]:
    """How many images of each class go to labeled, calib and gate, in this order."""
    have = {name: len(ids) for name, ids in by_class.items()}
    if empty := [name for name, count in have.items() if count == 0]:
        what = f"no labeled image of the class {', '.join(map(repr, empty))} is left to train on"
        raise UserError("empty_class", what, "label some images of it, lower split.test, or remove the class")
    calib, gate = _proportional(wanted.calib, have), _proportional(wanted.gate, have)
    if wanted.labels is None:
        labels = {name: max(have[name] - calib[name] - gate[name], 1) for name in have}
    elif wanted.labels % len(have):
        lower = wanted.labels - wanted.labels % len(have)
        near = " or ".join(str(n) for n in (lower, lower + len(have)) if n)
        what = f"split.labels: {wanted.labels} cannot be shared equally by {len(have)} classes"
        raise UserError("unequal_labels", what, f"set split.labels in params.yaml to {near}")
    else:
        labels = dict.fromkeys(have, wanted.labels // len(have))
    takes = {name: {"labeled": labels[name], "calib": calib[name], "gate": gate[name]} for name in have}
    short = [
        f"  class {n!r}: {have[n]} labeled images, wanted {_list(take)}"
        for n, take in takes.items()
        if sum(take.values()) > have[n]
    ]
    if short:
        what = "\n".join([f"{len(short)} of {len(have)} classes have too few labels:", *short[:20]])
        raise UserError(
            "too_few_labels", what, "lower split.labels, split.calib, split.gate or split.test, or label more"
        )
    return takes


def _list(take: dict[str, int]) -> str:
    return " + ".join(f"{count} {role}" for role, count in take.items() if count)


def _proportional(total: int, have: dict[str, int]) -> dict[str, int]:
    """`total` shared out as the classes are, by largest remainder; a tie goes to the class that stands first."""
    everything = sum(have.values())
    share = {name: total * count // everything for name, count in have.items()}
    by_remainder = sorted(have, key=lambda name: -(total * have[name] % everything))
    for name in by_remainder[: total - sum(share.values())]:
        share[name] += 1
    return share


def _status(found: Found, test: set[str], drawn: dict[str, set[str]]) -> dict[str, str]:
    held_out = test | drawn["calib"] | drawn["gate"]
    return {
        image_id: "held_out" if image_id in held_out else "duplicate" if image_id in drawn["labeled"] else "pool"
        for image_id in found.pool | drawn["pool"]
    }


def _pool_fix(wanted: params.Split) -> str:
    if wanted.labels is None:
        return "bring unlabeled images, or set split.labels in params.yaml so that the rest of the labeled becomes pool"
    return "bring unlabeled images, or lower split.labels, split.calib, split.gate or split.test in params.yaml"


def _write(column: dict[str, str], name: str, path: Path) -> None:
    ids = sorted(column)
    schema = pa.schema([("image_id", pa.string()), (name, pa.string())])
    files.write_table(pa.table({"image_id": ids, name: [column[i] for i in ids]}, schema), path)
