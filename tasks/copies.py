"""Copies of images: read from the fingerprints of all sources, grouped, and listed for people and the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.core import duplicates
from tasks.core.fingerprints import SIDE
from tasks.errors import Integrity
from tasks.roles import Found, Roles

RANK = ("test", "calib", "gate", "labeled", "pool", "")  # of two copies, the one that stands further left is `match`
LISTED = pa.schema(
    [  # type: ignore[arg-type]  # the stubs do not know fields of different types in one list
        pa.field("image_id", pa.string()),
        pa.field("group", pa.string()),  # the first id of all copies that hang together
        pa.field("match", pa.string()),  # the copy that has the stronger claim
        pa.field("match_role", pa.string()),
        pa.field("kind", pa.string()),  # exact, near or flipped
        pa.field("distance", pa.float32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Edge:
    """Two near copies, the smaller id first."""

    first: str
    second: str
    kind: str
    distance: float


def find_all(folders: list[Path], side_of: dict[str, int], distance: float) -> list[Edge]:
    """The near copies among all images that have fingerprints in `folders`; nothing where there are none.

    Integrity when an image of the catalog (`side_of`: its shorter side in pixels) has no fingerprint.
    """
    if not folders:
        return []
    table = pa.concat_tables(t for folder in folders for t in files.iter_tables(folder)).sort_by("image_id")
    ids = table["image_id"].combine_chunks()
    fresh = np.ones(len(ids), bool)  # two sources may hold the same image
    fresh[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    table = table.filter(pa.array(fresh) if len(ids) else pa.array([], pa.bool_())).combine_chunks()
    names: list[Any] = table["image_id"].to_pylist()
    if missing := side_of.keys() - set(names):
        what = f"{len(missing)} images of the catalog have no fingerprint; the first is {min(missing)}"
        raise Integrity("missing_fingerprint", what, "rm -r data/fingerprints, then `dvc repro`")
    thumbs: list[Any] = table["thumb"].to_pylist()
    prints = duplicates.Prints(
        hash_N=table["phash"].to_numpy(),
        mirrored_N=table["phash_mirrored"].to_numpy(),
        thumb_NHW=np.frombuffer(b"".join(thumbs), np.uint8).reshape(-1, SIDE, SIDE),
        side_N=np.array([side_of.get(name, SIDE) for name in names], np.int64),
    )
    pairs = duplicates.find(prints, distance)
    columns = (pairs.first_P, pairs.second_P, pairs.mirrored_P, pairs.distance_P)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [Edge(names[i], names[j], "flipped" if mirrored else "near", apart) for i, j, mirrored, apart in rows]


def groups(edges: list[Edge]) -> dict[str, str]:
    """The first id of its group for every image that has a copy."""
    ids = sorted({image_id for edge in edges for image_id in (edge.first, edge.second)})
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    ends = [np.array([row_of[getattr(e, end)] for e in edges], np.int64) for end in ("first", "second")]
    return {ids[row]: ids[first] for row, first in enumerate(duplicates.groups(len(ids), *ends).tolist())}


def table(found: Found, roles: Roles, edges: list[Edge]) -> pa.Table:
    """data/split/duplicates.parquet: every pair of copies; the same bytes in two places stand there as their own match.

    Sorted by image_id and match.
    """
    role_of = {i: "pool" for i, status in roles.status.items() if status == "pool"}
    for name in ("labeled", "gate", "calib", "test"):
        role_of |= dict.fromkeys(getattr(roles, name), name)
    exact = (found.labeled & found.pool) | (found.labeled & found.test) | (found.pool & found.test)
    rows = [(i, found.group(i), i, role_of.get(i, ""), "exact", 0.0) for i in exact]
    for edge in edges:
        strength = sorted((RANK.index(role_of.get(i, "")), i) for i in (edge.first, edge.second))
        (_, match), (_, other) = strength
        rows.append((other, found.group(other), match, role_of.get(match, ""), edge.kind, edge.distance))
    rows.sort()
    columns = [pa.array([row[n] for row in rows], field.type) for n, field in enumerate(LISTED)]
    return pa.Table.from_arrays(columns, schema=LISTED)
