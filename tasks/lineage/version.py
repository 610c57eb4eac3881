"""Where the artefacts of a version lie: in the workspace, or (flows/revision.py) in DVC's cache, of a git revision."""

from pathlib import Path
from typing import Any, Protocol

from tasks import files

LABELS = files.labels("rK").parent
CATALOGS = files.catalog("x").parent
NETS = (Path("data/champions"), Path("data/models"))  # whose nets may teach


class Version(Protocol):
    """The artefacts as a version of the project has them. One is named by its path, such as data/labels/r1."""

    @property
    def name(self) -> str:
        """`workspace`, or the revision as the user wrote it."""

    def names(self, artefact: Path) -> list[str]:
        """The files of an artefact, sorted; none where there is no such artefact."""

    def file(self, artefact: Path, name: str) -> Path | None:
        """Where to read a file of an artefact; None where there is none. Integrity or UserError when it is lost."""

    def below(self, folder: Path) -> list[str]:
        """The names of the artefacts in a folder, such as the sources in data/catalog, sorted."""

    def folder(self, artefact: Path) -> Path:
        """A folder that holds all files of an artefact under their names."""


class Workspace:
    """What lies under data/ of the current folder."""

    name = "workspace"

    def names(self, artefact: Path) -> list[str]:
        """The files of an artefact."""
        return sorted(p.relative_to(artefact).as_posix() for p in artefact.rglob("*") if p.is_file())

    def file(self, artefact: Path, name: str) -> Path | None:
        """The file itself."""
        path = artefact / name
        return path if path.is_file() else None

    def below(self, folder: Path) -> list[str]:
        """Published artefacts alone."""
        return sorted(record.parent.name for record in folder.glob(f"*/{files.MANIFEST}"))

    def folder(self, artefact: Path) -> Path:
        """The artefact itself."""
        return artefact


def record(version: Version, artefact: Path) -> dict[str, Any]:
    """The commit record of an artefact: who made it, from what; empty where there is none."""
    path = version.file(artefact, files.MANIFEST)
    return dict(files.read_json(path)) if path else {}


def identity(version: Version, artefact: Path) -> str | None:
    """The artefact's hash (files.manifest_hash); None where it is not there."""
    path = version.file(artefact, files.MANIFEST)
    return files.sha256_file(path) if path else None


def parts(version: Version, artefact: Path) -> list[Path]:
    """part-*.parquet of an artefact, in order."""
    names = (name for name in version.names(artefact) if Path(name).match("part-*.parquet"))
    return [path for name in names if (path := version.file(artefact, name))]


def rounds(version: Version) -> list[str]:
    """The rounds that have a label table, r1 first."""
    found = (name for name in version.below(LABELS) if name != "r0" and name[1:].isdigit())
    return sorted(found, key=lambda name: int(name[1:]))


def teacher(version: Version, round_: str) -> tuple[Path, str] | None:
    """The net that labeled a round: its artefact and its hash (files.net_hash), by the probabilities' commit record.

    The record names the files that a prediction depends on, not the decision and the calibration beside them. Older
    records name the artefact as a whole: then its hash is that of its own commit record.
    """
    inputs: dict[str, str] = record(version, files.probs(round_)).get("inputs", {})
    whole = next((path for path in inputs if Path(path).parent in NETS), None)
    if whole is not None:
        return Path(whole), inputs[whole]
    folders = (folder for path in inputs if (folder := Path(path).parent).parent in NETS)
    if (artefact := next(folders, None)) is None:
        return None
    return artefact, files.digest([inputs.get((artefact / name).as_posix()) for name in files.NET])


def is_net(version: Version, artefact: Path, hash_: str) -> bool:
    """Whether a net is the one that a hash of `teacher` means."""
    return hash_ in {net_hash(version, artefact), identity(version, artefact)}


def net_hash(version: Version, artefact: Path) -> str | None:
    """files.net_hash of a net; None where it is not there."""
    paths = [version.file(artefact, name) for name in files.NET]
    return files.digest([files.sha256_file(path) for path in paths if path]) if all(paths) else None
