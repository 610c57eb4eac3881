"""Section `provenance`: identity of every artefact the page rests on, and the versions it was made with."""

from importlib.metadata import version
from typing import Any

from tasks import files
from tasks.sections.material import Material

LIBRARIES = ("understudy", "torch", "torchvision", "numpy", "pyarrow", "pillow", "scikit-learn", "dvc")


def section(run: Material) -> dict[str, Any]:
    """Hashes by path, versions by name."""
    paths = [f(s) for s in run.sources for f in (files.images, files.catalog)]
    paths += [files.SPLIT, *(f(r) for r in run.rounds for f in (files.labels, files.scores))]
    nets = {files.model(n["key"]): n["artefact"] for score in run.scores.values() for n in score["nets"].values()}
    hashes = {path: files.manifest_hash(path) for path in paths} | nets
    return {
        "artefacts": sorted((path.as_posix(), value) for path, value in hashes.items()),
        "versions": [(name, version(name)) for name in LIBRARIES],
    }
