"""The images of a review as files a browser can show, under .work/review/<round>; all of it can be deleted."""

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from PIL import ExifTags, Image, ImageOps

from tasks import files
from tasks.errors import Integrity

SUFFIX = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp"}
SUFFIX_FORMAT = {suffix: kind for kind, suffix in SUFFIX.items()}
HOW: dict[str, dict[str, int]] = {".jpg": {"quality": 95, "subsampling": 0}, ".png": {"compress_level": 1}}
CHUNK = 256  # images written at once
LEGIBLE = 64  # pixels: an image with a smaller side is enlarged
ENLARGED = 96  # at least: the App smooths it further
JPEG_MODES = {"L", "RGB"}
LARGEST = 1024  # pixels of an audit's picture
PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One image file and what FiftyOne wants to know of it."""

    path: Path
    mime: str
    width: int
    height: int
    channels: int
    size: int  # bytes


def folder(round_: str) -> Path:
    """Where the pictures of a round lie."""
    return files.WORK / "review" / round_


def write(image_ids: list[str], target: Path) -> Iterator[tuple[str, Picture]]:
    """Write the images of data/images with these ids and yield each once, as they come, in the order of the parts.

    A file holds the bytes as they came. Where a side is under 64 pixels it is enlarged smoothly (people read a blurred
    digit more easily than a handful of squares), as a JPEG of high quality, written some ten times as fast as a PNG; a
    PNG where JPEG cannot hold it, or where the format is none of the web. Pictures of an earlier review that are not
    wanted now are removed.
    """
    target.mkdir(parents=True, exist_ok=True)
    there, found = {path.stem: path for path in target.iterdir()}, set()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for some in _by_chunk(encoded(image_ids)):
            found |= {image_id for image_id, _ in some}
            written = pool.map(lambda one: _write(one[1], target / one[0], there.get(one[0])), some)
            yield from zip((image_id for image_id, _ in some), written, strict=True)
    for path in target.iterdir():
        if path.stem not in found:
            path.unlink()


def write_blind(name_of: dict[str, str], target: Path) -> Iterator[tuple[str, Picture]]:
    """Write the images under the names given to their ids and yield name and picture, in the order of the parts.

    All in one form: upright, at most 1024 pixels, PNG without EXIF, name, date or place of the file it came from.
    """
    target.mkdir(parents=True, exist_ok=True)
    for image_id, data in encoded(list(name_of)):
        image = _enlarged(Image.open(io.BytesIO(data)))
        image.thumbnail((LARGEST, LARGEST))
        image = image.convert("RGBA") if image.mode == "P" else image  # its transparency lies in info
        image.info = {}
        path = target / f"{name_of[image_id]}.png"
        image.save(path, "PNG")
        bands, size = len(image.getbands()), path.stat().st_size
        yield name_of[image_id], Picture(path.absolute(), "image/png", *image.size, bands, size)


def encoded(image_ids: list[str]) -> Iterator[tuple[str, bytes]]:
    """Each of these images of data/images once, in the order of the parts, as it came. Integrity when one is lost."""
    wanted, found = pa.array(image_ids, pa.string()), set()
    for part in files.iter_tables(files.IMAGES):
        chosen = part.filter(pc.is_in(part["image_id"], wanted))
        for batch in chosen.to_batches(max_chunksize=64):
            for row in batch.to_pylist():
                if row["image_id"] not in found:  # two sources may hold the same image
                    found.add(row["image_id"])
                    yield row["image_id"], row["bytes"]
    if missing := sorted(set(image_ids) - found):
        what = f"{len(missing)} images of the label table are not in {files.IMAGES}; the first is {missing[0]}"
        raise Integrity("lost_images", what, "`dvc repro`, then review again")


def _by_chunk(images: Iterator[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    while some := list(islice(images, CHUNK)):
        yield some


def _write(data: bytes, stem: Path, there: Path | None) -> Picture:
    image: Image.Image = Image.open(io.BytesIO(data))
    suffix, is_small = SUFFIX.get(image.format or "", ""), min(image.size) < LEGIBLE
    if not suffix or is_small:
        image, stream = _enlarged(image), io.BytesIO()
        suffix = ".jpg" if is_small and image.mode in JPEG_MODES else ".png"
        image.save(stream, SUFFIX_FORMAT[suffix], **HOW[suffix])
        data = stream.getvalue()
    path = stem.with_suffix(suffix)
    if there != path or there.stat().st_size != len(data):
        temporary = stem.with_suffix(".tmp")
        temporary.write_bytes(data)
        temporary.replace(path)
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    width, height = (image.height, image.width) if turned else image.size
    return Picture(path.absolute(), Image.MIME[SUFFIX_FORMAT[suffix]], width, height, len(image.getbands()), len(data))


def _enlarged(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    smallest = min(upright.size)
    factor = -(-ENLARGED // smallest) if smallest < LEGIBLE else 1
    large = upright.resize((upright.width * factor, upright.height * factor), Image.Resampling.BICUBIC)
    return large if large.mode in PNG_MODES else large.convert("RGB")
