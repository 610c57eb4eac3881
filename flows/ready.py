"""What has to be there before DVC starts: it looks at inputs first, and says only that something is missing."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks import decisions, files, ledger, resolutions
from tasks.errors import UserError
from tasks.images import release
from tasks.images.sources import refuse_missing
from tasks.params import Settings


def refuse_unready(settings: Settings) -> None:
    """UserError when a source or a round's ledger is missing, or DVC cannot take in a file's name."""
    refuse_missing(settings.sources)
    for name, source in settings.sources.items():
        if source.kind != "digits":
            _refuse_bad_names(name, Path(source.path))
    for path, header in ((files.RELEASES, release.HEADER), (files.CONFLICTS, resolutions.HEADER)):
        if path.parent.is_dir():
            _refuse_ledger(path, header)
    for round_ in settings.rounds:
        if (path := files.decisions(round_)).parent.is_dir():
            decisions.read(path)


def _refuse_ledger(path: Path, header: Sequence[str]) -> None:
    if not path.exists():
        what = f"{path} does not exist; DVC wants it, be it empty but for its header"
        raise UserError("no_ledger", what, f"printf '{','.join(header)}\\n' > {path}")
    ledger.read(path, header)


def _refuse_bad_names(name: str, path: Path) -> None:
    if bad := next(_not_utf8(path), None):
        shown = os.fsencode(bad).decode("utf-8", "backslashreplace")
        what = f"sources.{name}: the name of {shown} is not UTF-8, and DVC cannot take it in"
        raise UserError("bad_name", what, "rename it; `convmv -f latin1 -t utf8 -r FOLDER` shows what that would do")


def _not_utf8(folder: Path) -> Iterator[str]:
    """Files and folders below a folder whose names are no text."""
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            if not name.isascii() and any("\udc80" <= letter <= "\udcff" for letter in name):
                yield os.path.join(place, name)
