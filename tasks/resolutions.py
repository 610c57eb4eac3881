"""data/decisions/conflicts.csv: what people said about images that were given two labels.

Append-only, in git, header `image_id,label,who,when`; the last row of an image wins.
"""

import csv
import io
from pathlib import Path

from tasks.errors import UserError

HEADER = ("image_id", "label", "who", "when")


def read(path: Path) -> dict[str, str]:
    """image_id to label. UserError names file and line for a missing file, another header or a bad row."""
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        fix = f"printf '{','.join(HEADER)}\\n' > {path}"
        raise UserError("no_resolutions", f"{path} does not exist; it is there, if only a header", fix) from None
    except UnicodeDecodeError as error:
        raise UserError("bad_resolutions", f"{path} is not UTF-8: {error}", f"git checkout {path}") from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: dict[str, str] = {}
    try:
        header = next(rows, [])
        if tuple(header) != HEADER:
            raise _bad(path, 1, f"the header is {','.join(header)!r}", f"make it {','.join(HEADER)!r}")
        for row in rows:
            if not row:
                continue
            if len(row) != len(HEADER):
                raise _bad(path, rows.line_num, f"{len(row)} columns, expected {len(HEADER)}", "mend the line")
            if not row[0] or not row[1]:
                raise _bad(path, rows.line_num, "image_id or label is empty", "name both, or remove the line")
            found[row[0]] = row[1]
    except csv.Error as error:
        raise _bad(path, rows.line_num, str(error), "restore the line from git") from None
    return found


def _bad(path: Path, line: int, why: str, fix: str) -> UserError:
    return UserError("bad_resolutions", f"{path}, line {line}: {why}", fix)
