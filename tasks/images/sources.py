"""The kinds of sources, one module each. A new kind is one module and one line here (and a name in tasks/params.py)."""

from collections.abc import Callable
from pathlib import Path

from tasks import params
from tasks.errors import UserError
from tasks.images import digits, folder, manifest
from tasks.images.record import Source

SOURCES: dict[str, Callable[[Path], Source]] = {
    "digits": digits.read,
    "folder": folder.read,
    "manifest": manifest.read,
}


def open_source(name: str, source: params.Source) -> Source:
    """Open the source of the settings. UserError when it is not there or not of its kind."""
    path = Path(source.path)
    if not path.exists():
        what = f"sources.{name}.path: {source.path} does not exist (its kind is {source.kind})"
        raise UserError(
            "no_source", what, f"edit sources.{name}.path in params.yaml; a relative path starts at the project"
        )
    return SOURCES[source.kind](path)
