"""`understudy use SETTINGS`: put a settings file of settings/ in the place of params.yaml, comments and all."""

import json
import re
from pathlib import Path

from flows.pipeline.ready import LEDGERS
from tasks import decisions, files
from tasks.errors import UserError
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
        if changed != 1:
            what = (
                f"{settings}: cannot tell which line is the path of its first source; expected `sources:` at the start "
            )
            what += "of a line and `path:` four spaces in, as in the files of settings/"
            raise UserError("no_source_line", what, f"write the path into {settings} yourself and leave --source out")
    files.replace_file(PARAMS_FILE, text)
    for round_ in load().rounds:
        ledger = files.decisions(round_)
        if not ledger.exists():
            files.replace_file(ledger, ",".join(decisions.HEADER) + "\n")
    for ledger, header in LEDGERS:
        if not ledger.exists():
            files.replace_file(ledger, ",".join(header) + "\n")
