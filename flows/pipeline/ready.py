"""What has to be there before DVC starts: it looks at inputs first, and says only that something is missing."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks import approvals, audits, decisions, files, ledger, resolutions, studies, verdicts
from tasks.errors import UserError
from tasks.images import release
from tasks.images.sources import refuse_missing
from tasks.params import Settings

LEDGERS = (
    (files.RELEASES, release.HEADER),
    (files.CONFLICTS, resolutions.HEADER),
    (files.CHAMPION_WORDS, verdicts.HEADER),
    (files.APPROVALS, approvals.HEADER),
    (files.SEEDS, studies.HEADER),
    (files.AUDIT, audits.HEADER),
)


def refuse_unready(settings: Settings) -> None:
    """UserError when a source or a round's ledger is missing, or DVC cannot take in what lies in a source."""
    refuse_missing(settings.sources)
    for name, source in settings.sources.items():
        if source.kind != "digits":
            _refuse_what_stops_dvc(name, Path(source.path))
    _refuse_missing_starts(settings)
    for path, header in LEDGERS:
        if path.parent.is_dir():
            _refuse_ledger(path, header)
    resolutions.read(files.CONFLICTS)
    audits.read()
    verdicts.read(files.CHAMPION_WORDS)
    approvals.read(files.APPROVALS)
    for round_ in settings.rounds:
        if (path := files.decisions(round_)).parent.is_dir():
            decisions.read(path)


def _refuse_missing_starts(settings: Settings) -> None:
    nets = {"teacher": settings.teacher, "baseline": settings.baseline}
    nets |= {f"rounds.{key}.student": entry.student for key, entry in settings.rounds.items()}
    nets |= {f"distill.{key}": entry for key, entry in settings.distill.items()}
    for key, net in nets.items():
        path = files.STARTS / net.start.weights
        if net.start.weights not in {"none", "imagenet"} and not path.exists():
            what = f"{key}.start.weights: {path} does not exist"
            raise UserError("no_weights", what, f"put the file or folder into {files.STARTS}, or set it to none")


def _refuse_ledger(path: Path, header: Sequence[str]) -> None:
    if not path.exists():
        what = f"{path} does not exist; DVC wants it, be it empty but for its header"
        raise UserError("no_ledger", what, f"printf '{','.join(header)}\\n' > {path}")
    ledger.read(path, header)


def _refuse_what_stops_dvc(name: str, folder: Path) -> None:
    """Names that are no text, links to nothing, and pipes or devices: DVC fails at the first two and waits for ever
    to read the last."""
    for entry in _entries(folder):
        path = Path(entry.path)
        if not entry.name.isascii() and any("\udc80" <= letter <= "\udcff" for letter in entry.name):
            shown = os.fsencode(entry.path).decode("utf-8", "backslashreplace")
            what = f"sources.{name}: the name of {shown} is not UTF-8, and DVC cannot take it in"
            raise UserError(
                "bad_name", what, "rename it; `convmv -f latin1 -t utf8 -r FOLDER` shows what that would do"
            )
        if entry.is_symlink() and not path.exists():
            what = f"sources.{name}: {path} is a link to nothing, and DVC stops at it"
            raise UserError("broken_link", what, f"mend or remove the link; `find {folder} -xtype l` lists all")
        if not entry.is_dir() and not entry.is_file():
            what = f"sources.{name}: {path} is a pipe, socket or device, and DVC would wait for ever to read it"
            raise UserError("no_file", what, "remove it from the source")


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """All that lies below a folder; links to folders are named, not followed."""
    waiting = [str(folder)] if folder.is_dir() else []
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                entries = list(found)
        except OSError:  # ingest puts it into the quarantine
            continue
        yield from entries
        waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
