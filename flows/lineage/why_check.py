"""`understudy why --check`: the named teachers are asked again; what they say is held against what is stored."""

import secrets
from pathlib import Path
from typing import Any

from flows.lineage import why
from flows.versions.revision import opened
from tasks.errors import DONE, INTEGRITY
from tasks.lineage import again, opinions
from tasks.lineage.version import Version

SHOWN = 20  # images that differ


def check_image(root: Path, facts: dict[str, Any], revision: str) -> int:
    """Add to each round of an image how far its teacher is, asked again, from what is stored; the exit code."""
    version, code = opened(root, revision), DONE
    for found in facts["rounds"]:
        if prob_of := found.get("probabilities"):
            order = opinions.classes(version)
            stored = again.one(found["round"], facts["image_id"], [prob_of[name] for name in order])
            apart = float(_apart(root, version, stored).max())
            found["again"] = {"difference": apart, "allowed": again.TOLERANCE, "same": apart <= again.TOLERANCE}
            code = code if apart <= again.TOLERANCE else INTEGRITY
    return code


def check_random(root: Path, count: int, seed: int | None, revision: str, round_: str | None) -> int:
    """Check stored predictions drawn from all rounds, print what came out, and return the exit code."""
    seed = secrets.randbelow(2**31) if seed is None else seed
    version, code = opened(root, revision), DONE
    drawn = again.draw(version, count, seed, round_)
    print(f"{sum(len(s.ids) for s in drawn)} images drawn (--seed {seed} draws them again)")
    for stored in drawn:
        apart_N = _apart(root, version, stored)
        bad_N = apart_N > again.TOLERANCE
        named = opinions.named_teacher(version, stored.round) or {}
        same = f"{len(bad_N) - int(bad_N.sum())} of {len(bad_N)} as stored"
        print(
            f"{stored.round}: {named['artefact']} {named['hash'][:16]}: {same}, largest difference {apart_N.max():.1e} "
            f"(allowed {again.TOLERANCE:.0e})"
        )
        for image_id, apart in [(stored.ids[row], apart_N[row]) for row in bad_N.nonzero()[0][:SHOWN]]:
            print(f"  {image_id} differs by {apart:.1e}")
        code = INTEGRITY if bad_N.any() else code
    return code


def _apart(root: Path, version: Version, stored: again.Stored) -> Any:
    return again.difference(version, stored, why.teacher_folder(root, version, stored.round))
