"""Section `provenance`: data, code and settings the page rests on, by hash and value, and the versions they met."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks import files
from tasks.sections.material import Material, csv_rows

LIBRARIES = ("understudy", "torch", "torchvision", "numpy", "pyarrow", "pillow", "scikit-learn", "dvc")
CODE = Path(__file__).resolve().parents[1]
LEDGERS = Path("data/decisions")


def section(run: Material) -> dict[str, Any]:
    """Versions by name, hashes by path, settings by key, and the ledgers in which people said something."""
    paths = [f(s) for s in run.sources for f in (files.images, files.catalog)]
    paths += [files.SPLIT, *(f(r) for r in run.rounds for f in (files.labels, files.scores))]
    nets = {files.model(n["key"]): n["artefact"] for score in run.scores.values() for n in score["nets"].values()}
    hashes = {path: files.manifest_hash(path) for path in paths} | nets
    return {
        "artefacts": sorted((path.as_posix(), value) for path, value in hashes.items()),
        "versions": [(name, version(name)) for name in LIBRARIES],
        "code": _code(),
        "ledgers": [(path.as_posix(), n, files.sha256_file(path)) for path, n in _ledgers(run)],
        "settings": sorted(_flat(_settings(run))),
    }


def _code() -> str:
    """One hash for all modules of the stages."""
    modules = {path.relative_to(CODE).as_posix(): files.sha256_file(path) for path in sorted(CODE.rglob("*.py"))}
    return files.digest(modules)


def _ledgers(run: Material) -> list[tuple[Path, int]]:
    rows = [(run.plain(path), len(csv_rows(path))) for path in sorted(LEDGERS.glob("*.csv"))]
    return [(path, n) for path, n in rows if n]


def _settings(run: Material) -> dict[str, Any]:
    """What the commit records of nets, labels and scores say they were made with."""
    own = run.settings.model_dump(mode="json")
    made: dict[str, Any] = {key: own[key] for key in ("seed", "sources", "split")}
    folders = [path.parent for path in run.curves.values()]
    folders += [f(r) for r in run.rounds for f in (files.labels, files.scores)]
    for folder in folders:
        made |= files.read_json(folder / files.MANIFEST).get("params", {})
    return made


def _flat(value: dict[str, Any], above: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, inner in value.items():
        name = f"{above}{key}"
        found += (
            _flat(inner, f"{name}.") if isinstance(inner, dict) else [(name, "null" if inner is None else str(inner))]
        )
    return found
