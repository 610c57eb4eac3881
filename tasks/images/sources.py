"""The kinds of sources, one module each. A new kind is one module, one class in tasks/params.py and one line here."""

from collections.abc import Mapping
from pathlib import Path

from tasks import params
from tasks.errors import UserError
from tasks.images import digits, folder, manifest, torchvision_sets
from tasks.images.record import Source


def open_source(name: str, source: params.Source) -> Source:
    """Open the source of the settings. UserError when it is not there or not of its kind."""
    refuse_missing({name: source})
    path = Path(source.path)
    if isinstance(source, params.Folder):
        return folder.read(path, source.layout, f"sources.{name}.layout")
    if isinstance(source, params.Torchvision):
        return torchvision_sets.read(path, source.name)
    return manifest.read(path) if isinstance(source, params.Manifest) else digits.read(path)


def prepare(source: params.Source) -> None:
    """Fetch what a source may fetch, before anything is watched or read: only `torchvision` does."""
    if isinstance(source, params.Torchvision) and Path(source.path).exists():
        torchvision_sets.fetch(Path(source.path), source.name)


def refuse_missing(sources: Mapping[str, params.Source]) -> None:
    """UserError naming every source whose path does not exist: DVC would stop at it with less to say."""
    missing = {n: s for n, s in sources.items() if s.kind != "digits" and not Path(s.path).exists()}
    if not missing:
        return
    lines = [f"sources.{name}.path: {s.path} does not exist (its kind is {s.kind})" for name, s in missing.items()]
    fixes = [f"edit sources.{name}.path in params.yaml" for name in missing]
    fixes += [f"or `mkdir -p {s.path}` to download {s.name}" for s in missing.values() if hasattr(s, "name")]
    raise UserError("no_source", "\n  ".join(lines), f"{', '.join(fixes)}; a relative path starts at the project")
