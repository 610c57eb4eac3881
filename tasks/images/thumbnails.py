"""Images as a page shows them: data URIs of the stored bytes, or of a smaller copy where those are many."""

import io
from base64 import b64encode
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from tasks import files
from tasks.images.decode import decode
from tasks.images.sniff import FORMATS, sniff

SHOWN = {*FORMATS} - {"TIFF"}  # what browsers show
LARGEST, SIDE, WHITE = 8192, 112, 255  # bytes put in as they are; pixels and background of a smaller copy


def as_shown(folder: Path, ids: Collection[str]) -> dict[str, str]:
    """Data URI by image_id, for some images of a verified data/images."""
    wanted = pa.array(sorted(ids), pa.string())
    found: dict[str, str] = {}
    for path in files.parts(folder):
        is_wanted = pc.is_in(files.read_table(path, ["image_id"])["image_id"], wanted)
        if pc.any(is_wanted).as_py():
            chosen = files.read_table(path).filter(is_wanted).to_pydict()
            found |= {i: data_uri(content) for i, content in zip(chosen["image_id"], chosen["bytes"], strict=True)}
    return found


def data_uri(content: bytes) -> str:
    """A checked image as a data URI of some kilobytes."""
    format_ = sniff(content[:16], "")
    if len(content) > LARGEST or format_ not in SHOWN:
        stream = io.BytesIO()
        Image.fromarray(decode(content, SIDE, 3, WHITE).transpose(1, 2, 0)).save(stream, "JPEG", quality=85)
        content, format_ = stream.getvalue(), "JPEG"
    return f"data:image/{str(format_).lower()};base64,{b64encode(content).decode()}"
