"""`understudy use SETTINGS`: put a settings file of settings/ in the place of params.yaml, comments and all."""

import json
import re
from pathlib import Path

from tasks import decisions, files, resolutions
from tasks.errors import UserError
from tasks.images import release
from tasks.params import PARAMS_FILE, load

SOURCE_PATH = re.compile(r"^(sources:\n(?:  .*\n)*?    path:).*$", flags=re.MULTILINE)  # of the first one


def use(settings: Path, source: str | None) -> None:
    """Check `settings`, let its first source lie at `source` if given, write params.yaml, give each ledger its header.

    Raises UserError, with params.yaml as it was, when the file is missing or wrong.
    """
    load(settings)
    text = settings.read_text(encoding="utf-8")
    if source is not None:
        if not Path(source).exists():
            raise UserError("no_source", f"{source} does not exist", "give the path of your images or manifests")
        text, changed = SOURCE_PATH.subn(lambda match: f"{match[1]} {json.dumps(source)}", text)
        assert changed == 1, f"{settings} has {changed} sources with a path"
    files.replace_file(PARAMS_FILE, text)
    for round_ in load().rounds:
        ledger = files.decisions(round_)
        if not ledger.exists():
            files.replace_file(ledger, ",".join(decisions.HEADER) + "\n")
    for ledger, header in ((files.RELEASES, release.HEADER), (files.CONFLICTS, resolutions.HEADER)):
        if not ledger.exists():
            files.replace_file(ledger, ",".join(header) + "\n")
