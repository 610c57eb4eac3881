"""What is left of sources that the settings no longer name: moved aside, so that nothing that follows sees it, and
taken up again when the settings name the source again.

Stages depend on whole folders such as data/images. A left-over source would be hashed, scanned and recorded, and
the same settings would no longer give the same bytes or be found in DVC's cache. A source that grew lies in shards of
several runs, and its quarantine counts them: taken in afresh it would be other bytes, and all that follows would run.
"""

import shutil
from collections.abc import Collection
from pathlib import Path

from tasks import files

RETIRED = files.WORK / "retired"


def retire(sources: Collection[str]) -> list[str]:
    """Move the artefacts of all other sources to .work/retired, where only the newest is kept; their names."""
    found = set()
    for folder in (files.images("x"), files.catalog("x"), files.quarantine("x"), files.fingerprints("x")):
        for path in sorted(folder.parent.glob(f"*/{files.MANIFEST}")):
            if (name := path.parent.name) not in sources:
                _move(path.parent, RETIRED / name / folder.parent.name)
                found.add(name)
    return sorted(found)


def bring_back(source: str) -> bool:
    """Put what lies aside of a source back where nothing newer is, before ingest goes on from it; whether any did.

    Fingerprints are another stage's, which makes them again or finds them in DVC's cache.
    """
    found = False
    for target in (files.images(source), files.catalog(source), files.quarantine(source)):
        aside = RETIRED / source / target.parent.name
        if aside.is_dir() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            aside.rename(target)
            found = True
    shutil.rmtree(RETIRED / source, ignore_errors=True)
    return found


def _move(artefact: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    artefact.rename(target)
