"""Which role every image has: drawn by id, copies together, conflicts set aside.

Everything is drawn by sha256(seed:image_id): the order of the rows and the rest of the data set cannot move an image.
Images that are copies of each other form a group, and a group has one role: test before labeled before pool. Of its
labeled images the first by id stands for all; the others are not learnt from, so a group counts once.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tasks import params
from tasks.errors import UserError

# Why an image of data/split/pool.parquet is not learnt from; `pool` images are the ones that a teacher labels.
REASON = {
    "pool": "unlabeled",
    "held_out": "held_out",
    "near_held_out": "near_held_out",
    "duplicate": "duplicate",
    "near_duplicate": "near_duplicate",
    "conflict": "conflict",
}
NO_OTHER_ROLE = ("pool", "near_held_out", "near_duplicate", "conflict")

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
    group_of: dict[str, str] = field(default_factory=dict)  # the first id of a group, for images that have copies
    several: dict[str, set[str]] = field(default_factory=dict)  # the labels of images that were given more than one
    settled: frozenset[str] = frozenset()  # images whose label a person chose

    def group(self, image_id: str) -> str:
        """The group of an image; its own id where it stands alone."""
        return self.group_of.get(image_id, image_id)


@dataclass(frozen=True, slots=True)
class Roles:
    """One role for every image. `status` has a row for each image of the pool, also where its role is another one, and
    for each image that has no role because a copy of it has one or because its label is in doubt."""

    labeled: Labels
    calib: Labels
    gate: Labels
    test: Labels
    status: dict[str, str]
    truth: Labels
    leaks: int  # labeled images taken out because they are in the test set too
    near_leaks: int  # labeled images taken out because a near copy is in the test set
    conflicts: dict[str, set[str]]  # images with a label that contradicts another one, and what they were given


def draw(found: Found, wanted: params.Split, seed: int) -> Roles:
    """Give every image its role. UserError when a class or the pool comes out empty or too small."""
    in_conflict = conflicts(found)
    doubtful = {found.group(image_id) for image_id in in_conflict}
    own_test = found.test - set(in_conflict)
    tested = {found.group(image_id) for image_id in own_test}
    labeled = _representatives(found, doubtful | tested, seed)
    if not found.test and wanted.test >= len(labeled):
        what = f"split.test: {wanted.test} images wanted, but the source has {len(labeled)} labeled ones in all"
        raise UserError("too_few_labels", what, "lower split.test in params.yaml, or bring a test set")
    test = own_test if found.test else set(labeled[: wanted.test])
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
    status = _status(found, drawn | {"test": test}, doubtful)
    pool = [image_id for image_id, value in status.items() if value == "pool"]
    if not pool:
        raise UserError("empty_pool", "no unlabeled image is left for the pool", _pool_fix(wanted))

    def named(ids: Iterable[str]) -> Labels:
        return {image_id: found.label_of[image_id] for image_id in ids}

    return Roles(
        **{role: named(drawn[role]) for role in ("labeled", "calib", "gate")},
        test=named(test),
        status=status,
        truth=named(image_id for image_id in pool if image_id in found.label_of),
        leaks=len(found.labeled & own_test),
        near_leaks=sum(found.group(i) in tested for i in found.labeled - own_test - set(in_conflict)),
        conflicts=in_conflict,
    )


def conflicts(found: Found) -> dict[str, set[str]]:
    """Images whose label contradicts their own or a copy's, with the labels each was given.

    A conflict is open while it holds an image that no person settled: two copies settled differently are two things
    that look alike. Copies of test images are never learnt from, so their labels are not compared with the sealed ones.
    """
    tested = {found.group(image_id) for image_id in found.test}
    members = defaultdict[str, list[str]](list)
    for image_id in found.labeled - found.test:
        if image_id in found.group_of and found.group_of[image_id] not in tested:
            members[found.group_of[image_id]].append(image_id)
    for image_id in found.several:
        if image_id not in members[found.group(image_id)]:
            members[found.group(image_id)].append(image_id)
    in_conflict: dict[str, set[str]] = {}
    for ids in members.values():
        given = {image_id: found.several.get(image_id, {found.label_of[image_id]}) for image_id in ids}
        if len(set[str]().union(*given.values())) > 1 and not found.settled.issuperset(ids):
            in_conflict |= given
    return in_conflict


def conserve(found: Found, roles: Roles) -> dict[str, int]:
    """Counts of roles; every image has exactly one role and every image of the pool one status (C7)."""
    status = list(roles.status.values())
    counts = {name: len(getattr(roles, name)) for name in ("labeled", "calib", "gate", "test")}
    counts |= {name: status.count(name) for name in NO_OTHER_ROLE}
    everything = found.labeled | found.pool | found.test
    if sum(counts.values()) != len(everything):
        raise AssertionError(f"{len(everything)} images in, roles: {counts}")
    if not set(roles.status) <= everything or not found.pool <= set(roles.status):
        raise AssertionError("an image of the pool has no status")
    extra = {name: status.count(name) for name in ("held_out", "duplicate")}
    leaks = {"leaks": roles.leaks, "near_leaks": roles.near_leaks}
    return {"images": len(everything), **counts, **extra, "truth": len(roles.truth), **leaks}


def _representatives(found: Found, taken: set[str], seed: int) -> list[str]:
    """The labeled images that take part in the draw, in its order: the first by id of every group that is not taken.

    A copy in the pool never decides which one that is, so a growing pool moves nobody.
    """
    first: dict[str, str] = {}
    for image_id in found.labeled:
        group = found.group(image_id)
        if group not in taken:
            first[group] = min(image_id, first.get(group, image_id))
    return sorted(first.values(), key=lambda image_id: _key(seed, image_id))


def _status(found: Found, drawn: dict[str, set[str]], doubtful: set[str]) -> dict[str, str]:
    held_out = drawn["test"] | drawn["calib"] | drawn["gate"]
    held_groups = {found.group(image_id) for image_id in held_out}
    learnt_groups = {found.group(image_id) for image_id in drawn["labeled"]}

    def of(image_id: str) -> str:
        group = found.group(image_id)
        if image_id in held_out:
            return "held_out"
        if image_id in drawn["labeled"]:
            return "duplicate"
        if group in doubtful:
            return "conflict"
        return "near_held_out" if group in held_groups else "near_duplicate" if group in learnt_groups else "pool"

    elsewhere = (found.labeled | found.test) - held_out - drawn["labeled"]
    return {image_id: of(image_id) for image_id in found.pool | elsewhere}


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


def _pool_fix(wanted: params.Split) -> str:
    if wanted.labels is None:
        return "bring unlabeled images, or set split.labels in params.yaml so that the rest of the labeled becomes pool"
    return "bring unlabeled images, or lower split.labels, split.calib, split.gate or split.test in params.yaml"
