"""What people said about images that carry two labels: image_id,label,who,when in data/decisions/conflicts.csv.

The same bytes under two classes teach nothing; a person says which class it is. The last row of an image wins.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

from tasks import ledger

HEADER = ("image_id", "label", "who", "when")
SHA256 = re.compile(r"[0-9a-f]{64}")


def read(path: Path) -> dict[str, str]:
    """The class of each image a person decided on, by image_id. UserError names file and line of a wrong row."""
    label_of = {}
    for line, row in ledger.read(path, HEADER):
        if not SHA256.fullmatch(row["image_id"]):
            raise ledger.refused(path, line, f"image_id {row['image_id']!r} is no sha256 of 64 hexadecimal digits")
        if not row["label"]:
            raise ledger.refused(path, line, f"no class for the image {row['image_id']}")
        label_of[row["image_id"]] = row["label"]
    return label_of


def append(path: Path, label_of: dict[str, str], who: str) -> int:
    """Add what a person says now, unless it is what stands there already; the number of rows added."""
    before = read(path)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    fresh = [(image_id, label) for image_id, label in sorted(label_of.items()) if before.get(image_id) != label]
    return ledger.append(path, HEADER, [(image_id, label, ledger.name(who), now) for image_id, label in fresh])
