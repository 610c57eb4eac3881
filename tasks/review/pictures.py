"""The images of a review as files a browser can show, under .work/review/<round>; all of it can be deleted."""

import io
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import ExifTags, Image, ImageOps

from tasks import files
from tasks.errors import Integrity
from tasks.images.jpeg import plain_frame

FORM = 1  # of the pictures: those of another form are made anew

SUFFIX = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp"}
SUFFIX_FORMAT = {suffix: kind for kind, suffix in SUFFIX.items()}
HOW: dict[str, dict[str, int]] = {".jpg": {"quality": 95, "subsampling": 0}, ".png": {"compress_level": 1}}
BLOCK, BLOCK_BYTES, AHEAD = 128, 8 * 2**20, 8  # images and bytes a thread writes at once; blocks before the caller's
LEGIBLE = 64  # pixels: an image with a smaller side is enlarged
ENLARGED = 96  # at least: the App smooths it further
LONGEST = 1024  # no side of an enlarged image is longer: a strip of 2 x 5,000 pixels stays one
JPEG_MODES = {"L", "RGB"}
LARGEST = 1024  # pixels of an audit's picture
PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One image file and what FiftyOne wants to know of it."""

    path: Path  # absolute
    mime: str
    width: int
    height: int
    channels: int
    size: int  # bytes


def folder(round_: str) -> Path:
    """Where the pictures of a round lie."""
    return files.WORK / "review" / round_


def write(image_ids: list[str], target: Path) -> Iterator[tuple[str, Picture]]:
    """Write the images of data/images with these ids and yield each once: those that are there already, then the others
    in the order of the parts.

    A file holds the bytes as they came. Where a side is under 64 pixels it is enlarged smoothly (people read a blurred
    digit more easily than a handful of squares), as a JPEG of high quality, written some ten times as fast as a PNG; a
    PNG where JPEG cannot hold it, or where the format is none of the web. Pictures of an earlier review that are not
    wanted now are removed. An id is a hash of the bytes, so a picture that was written before is not made again. The
    threads are some blocks ahead of the caller.
    """
    target.mkdir(parents=True, exist_ok=True)
    target = target.absolute()
    there, made = _recorded(target), dict[str, Picture]()
    for image_id in image_ids:
        if image_id in there and _size(there[image_id].path) == there[image_id].size:
            made[image_id] = there[image_id]
            yield image_id, made[image_id]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for some in _ahead(pool, _blocks(encoded([i for i in image_ids if i not in made])), target):
            made |= some
            yield from some.items()
    keep = {picture.path.name for picture in made.values()}
    for name in os.listdir(target):
        if name not in keep:
            (target / name).unlink()
    _record(made, target)


def count(target: Path) -> int:
    """How many pictures there are in a folder."""
    return len(os.listdir(target)) if target.is_dir() else 0


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
    wanted, left = pa.array(image_ids, pa.string()), set(image_ids)
    for path in files.parts(files.IMAGES):
        if not left:
            break
        if not pc.any(pc.is_in(files.read_table(path, ["image_id"])["image_id"], wanted)).as_py():
            continue
        part = files.read_table(path)
        for batch in part.filter(pc.is_in(part["image_id"], wanted)).to_batches(max_chunksize=64):
            for row in batch.to_pylist():
                if row["image_id"] in left:  # two sources may hold the same image
                    left.remove(row["image_id"])
                    yield row["image_id"], row["bytes"]
    if left:
        what = f"{len(left)} images of the label table are not in {files.IMAGES}; the first is {min(left)}"
        raise Integrity("lost_images", what, "`dvc repro`, then review again")


def _recorded(target: Path) -> dict[str, Picture]:
    """What an earlier `write` finished in this folder, by image_id."""
    path = _record_of(target)
    rows = files.read_table(path).to_pydict() if path.is_file() else {"name": []}
    names, others = rows.pop("name"), zip(*rows.values(), strict=True)
    return {Path(n).stem: Picture(target / n, *other) for n, other in zip(names, others, strict=True)} if names else {}


def _record(made: dict[str, Picture], target: Path) -> None:
    columns = {name: [getattr(picture, name) for picture in made.values()] for name in Picture.__slots__[1:]}
    temporary = _record_of(target).with_suffix(".tmp")
    files.write_table(pa.table({"name": [p.path.name for p in made.values()], **columns}), temporary)
    temporary.replace(_record_of(target))


def _record_of(target: Path) -> Path:
    return target.with_name(f"{target.name}-{FORM}.parquet")


def _size(path: Path) -> int:
    """In bytes; -1 where there is no file."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _blocks(images: Iterator[tuple[str, bytes]]) -> Iterator[dict[str, bytes]]:
    """Some images at a time, a last one beyond BLOCK_BYTES."""
    some, size = dict[str, bytes](), 0
    for image_id, data in images:
        some[image_id] = data
        size += len(data)
        if len(some) == BLOCK or size > BLOCK_BYTES:
            yield some
            some, size = {}, 0
    if some:
        yield some


def _ahead(pool: ThreadPoolExecutor, blocks: Iterator[dict[str, bytes]], target: Path) -> Iterator[dict[str, Picture]]:
    """Every block written, in order; threads work on the next ones while the caller has one."""
    waiting: deque[Future[dict[str, Picture]]] = deque()
    for some in blocks:
        waiting.append(pool.submit(_write_all, some, target))
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _write_all(some: dict[str, bytes], target: Path) -> dict[str, Picture]:
    return {image_id: _write(data, f"{target}/{image_id}") for image_id, data in some.items()}


def _write(data: bytes, stem: str) -> Picture:
    """A file that is cut off by a kill is made again: it stands in no record."""
    picture, data = _plain(data, stem) or _any(data, stem)
    with open(picture.path, "wb") as stream:
        stream.write(data)
    return picture


def _plain(data: bytes, stem: str) -> tuple[Picture, bytes] | None:
    """A plain JPEG: as it is, or decoded once, enlarged and encoded without the interpreter's lock. None for all else.

    Pillow takes three times as long for it, most of that in Python.
    """
    frame = plain_frame(data) if data.startswith(b"\xff\xd8") else None
    if frame is None:
        return None
    mode, width, height = frame
    if min(width, height) < LEGIBLE:
        import cv2

        pixel = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixel is None:
            return None
        width, height = _enlarged_size(width, height)
        large = cv2.resize(pixel, (width, height), interpolation=cv2.INTER_CUBIC)
        quality = [cv2.IMWRITE_JPEG_QUALITY, HOW[".jpg"]["quality"], cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
        data = cv2.imencode(".jpg", large, [*quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])[1].tobytes()
    return Picture(Path(f"{stem}.jpg"), "image/jpeg", width, height, 1 if mode == "L" else 3, len(data)), data


def _any(data: bytes, stem: str) -> tuple[Picture, bytes]:
    image: Image.Image = Image.open(io.BytesIO(data))
    suffix, is_small = SUFFIX.get(image.format or "", ""), min(image.size) < LEGIBLE
    if not suffix or is_small:
        image, stream = _enlarged(image), io.BytesIO()
        suffix = ".jpg" if is_small and image.mode in JPEG_MODES else ".png"
        image.save(stream, SUFFIX_FORMAT[suffix], **HOW[suffix])
        data = stream.getvalue()
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    width, height = (image.height, image.width) if turned else image.size
    mime, bands = Image.MIME[SUFFIX_FORMAT[suffix]], len(image.getbands())
    return Picture(Path(stem + suffix), mime, width, height, bands, len(data)), data


def _enlarged(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    large = upright.resize(_enlarged_size(*upright.size), Image.Resampling.BICUBIC)
    return large if large.mode in PNG_MODES else large.convert("RGB")


def _enlarged_size(width: int, height: int) -> tuple[int, int]:
    """Width and height times the same whole number."""
    wanted = -(-ENLARGED // min(width, height)) if min(width, height) < LEGIBLE else 1
    factor = max(1, min(wanted, LONGEST // max(width, height)))
    return width * factor, height * factor
