"""Names that are safe on every file system: of class folders (reversible) and of image files (unique by image_id)."""

import re
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from tasks.errors import UserError
from tasks.images.record import Refusal
from tasks.images.sniff import sniff

LONGEST = 255  # bytes, of ext4, APFS and NTFS alike
ID_DIGITS = 16  # of image_id in a file name; two images of a billion share them once in 40 exports of all of them
EMPTY = "%"  # stands for the empty name: a percent sign of a name is written %25
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # devices of Windows
UNSAFE = re.compile(r'[\x00-\x1f\x7f\x80-\x9f"%*/:<>?\\|\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]')
SUFFIX = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
}


def class_folder(name: str) -> str:
    """A class as one folder name, `%XX` for what no file system takes everywhere; `class_of` turns it back.

    UserError when it is longer than a folder name can be.
    """
    folder = _escaped(name) or EMPTY
    if len(folder.encode()) > LONGEST:
        what = f"the class {name[:40]!r}... needs a folder name of {len(folder.encode())} bytes, possible: {LONGEST}"
        raise UserError("class_name_too_long", what, "export as parquet, csv or huggingface, which take any name")
    return folder


def class_of(folder: str) -> str:
    """The class a folder of `class_folder` stands for."""
    return "" if folder == EMPTY else unquote(folder, errors="strict")


def file_name(image_id: str, path: str, content: bytes) -> str:
    """`<16 digits of image_id>-<base name of path>`, made safe and cut to 200 bytes, with the suffix of its content.

    Image readers choose files by suffix: torchvision's ImageFolder silently skips a .jfif, or a photo without one.
    """
    base = re.split(r"[/\\]", path)[-1] if path else ""
    known = SUFFIX.get(_format(content), ())
    suffix = PurePosixPath(base).suffix if not base.startswith(".") else ""
    stem = base.removesuffix(suffix)
    if suffix.lower() not in known:
        stem, suffix = base, known[0] if known else ""
    stem = _cut(_escaped(stem), 200)
    return f"{image_id[:ID_DIGITS]}-{stem}{suffix}" if stem else f"{image_id[:ID_DIGITS]}{suffix}"


def _format(content: bytes) -> str:
    """The format by its first bytes; what newer readers take and `sniff` refuses is told by the same bytes."""
    found = sniff(content[:16], "")
    return found.detail.split(";")[0] if isinstance(found, Refusal) else found


def _escaped(name: str) -> str:
    """Percent signs for separators, control and direction characters, and what a shell or Windows takes for special."""
    text = UNSAFE.sub(lambda match: quote(match[0], safe=""), name)
    if text and (text[0] in ".-~ " or RESERVED.fullmatch(text)):
        text = f"%{ord(text[0]):02X}{text[1:]}"
    if text and text[-1] in ". ":
        text = f"{text[:-1]}%{ord(text[-1]):02X}"
    return text


def _cut(text: str, size: int) -> str:
    """The first `size` bytes, no character and no escape cut in two."""
    short = text.encode()[:size].decode(errors="ignore")
    return re.sub(r"%[0-9A-F]?$", "", short) if short != text else text
