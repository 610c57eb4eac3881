"""Is an encoded image sound? It is when all of it was decoded: Pillow's verify() passes a JPEG cut in half.

The size is read from the header before anything is decoded. Runs in worker processes, which load Pillow and no more;
numpy comes in with the first image of more than 8 bits.
"""

import io
from dataclasses import replace
from typing import Any, NamedTuple

from PIL import Image, UnidentifiedImageError

from tasks.images import png
from tasks.images.jpeg import decoded, plain_frame
from tasks.images.record import Refusal
from tasks.images.sniff import DEEP, EIGHT_BIT, HEAD, has_cut_tail, sniff, webp_size

THUMBNAIL_FIRST, SUBFILE_TYPE = 1, 254  # TIFF: how camera raw files begin
FILLED_IN = 128  # the grey that libjpeg puts where the data ended early
LARGE = 128  # pixels of the shorter side: whatever is filled in is several blocks then
TAIL = 0.15  # the share of rows that must be such grey

Image.MAX_IMAGE_PIXELS = None  # Pillow only warns at first; our own limit refuses, before decoding


class Sound(NamedTuple):
    """What a sound image is: format and mode as Pillow names them, stored width and height, more than one frame?"""

    format: str
    mode: str
    width: int
    height: int
    many_frames: bool


def check(content: bytes, path: str, max_pixels: int) -> Sound | Refusal:
    """Decode an image completely and say what it is, or why it is refused. `path` helps to name what is no image."""
    format_ = sniff(content[:HEAD], path)
    if isinstance(format_, Refusal):
        return format_
    if format_ == "WEBP" and (size := webp_size(content[:HEAD])) and size[0] * size[1] > max_pixels:
        return _too_large(*size, max_pixels)
    plain = {"JPEG": _plain_jpeg, "PNG": _plain_png}.get(format_)
    verdict = (plain(content, max_pixels) if plain else None) or _decoded(content, format_, max_pixels)
    if format_ == "JPEG" and has_cut_tail(content):
        why = "the data end in zeros and without an end marker: a copy that was cut short?"
        return Refusal("suspect_tail", why, sound=verdict if isinstance(verdict, Sound) else None)
    return verdict


def _decoded(content: bytes, format_: str, max_pixels: int) -> Sound | Refusal:
    try:
        with Image.open(io.BytesIO(content), formats=(format_,)) as image:
            return _check_open(image, format_, max_pixels)
    except MemoryError:
        return Refusal("decoder_memory", "needs more memory than ingest.max_memory_mb allows")
    except Exception as error:  # Pillow's parsers raise almost anything on damaged bytes
        return _damaged(error, format_)


def _plain_jpeg(content: bytes, max_pixels: int) -> Sound | None:
    """A sound plain JPEG, by Pillow's decoder without Pillow's reading of the header: a third of a small file's time.

    None where anything is unusual or wrong: then the long way is gone, and says what.
    """
    frame = plain_frame(content)
    if frame is None or frame[1] * frame[2] > max_pixels:
        return None
    mode, width, height = frame
    image = decoded(content, mode, width, height, shrink=8 if min(width, height) >= LARGE else 1)
    if image is None or image.getpixel((image.width - 1, image.height - 1)) == _grey(mode):
        return None
    return Sound("JPEG", mode, width, height, many_frames=False)


def _plain_png(content: bytes, max_pixels: int) -> Sound | None:
    """A sound plain PNG, by inflating it: half of Pillow's time or less. None: the long way says what is wrong."""
    frame = png.plain_frame(content)
    if frame is None or frame[1] * frame[2] > max_pixels:
        return None
    mode, width, height, data = frame
    if not png.inflates(data, mode, width, height):
        return None
    return Sound("PNG", mode, width, height, many_frames=False)


def _check_open(image: Image.Image, format_: str, max_pixels: int) -> Sound | Refusal:
    width, height, mode = image.width, image.height, image.mode
    if width * height > max_pixels:
        return _too_large(width, height, max_pixels)
    if format_ == "TIFF" and getattr(image, "tag_v2", {}).get(SUBFILE_TYPE, 0) == THUMBNAIL_FIRST:
        return Refusal("format_not_allowed", "a TIFF that begins with a thumbnail, as camera raw files do")
    many_frames = bool(getattr(image, "is_animated", False))  # never n_frames: it walks through a million of them
    pixels = image.load()
    if format_ != "JPEG" or "exif" in image.info or "xmp" in image.info:
        image.getexif()
    sound = Sound(format_, mode, image.width, image.height, many_frames)
    refusal = _refuse_pixels(image, format_, pixels)
    if refusal is not None and refusal.reason == "suspect_tail":
        return replace(refusal, sound=sound)  # a person may say that the picture is like that
    return refusal or sound


def _refuse_pixels(image: Image.Image, format_: str, pixels: Any) -> Refusal | None:
    """Why the pixels of a decoded image cannot be used, or None."""
    if image.mode in DEEP:
        from tasks.images.decode import refuse_range

        return refuse_range(image)
    if image.mode not in EIGHT_BIT:
        return Refusal("mode_not_allowed", f"pixels of the kind {image.mode}; allowed: {', '.join(EIGHT_BIT)}")
    if format_ == "JPEG" and _is_filled_in(image, pixels):
        return Refusal("suspect_tail", f"the last {TAIL:.0%} of its rows are the grey of missing data")
    return None


def _grey(mode: str) -> int | tuple[int, ...]:
    return FILLED_IN if mode == "L" else (FILLED_IN,) * 3


def _is_filled_in(image: Image.Image, pixels: Any) -> bool:
    """Whether the last rows, and not the first, are what libjpeg fills in after the data ended."""
    if image.mode not in {"L", "RGB"} or pixels[image.width - 1, image.height - 1] != _grey(image.mode):
        return False
    rows = max(1, int(TAIL * image.height))

    def is_grey(top: int) -> bool:
        extrema = image.crop((0, top, image.width, top + rows)).convert("RGB").getextrema()
        return set(extrema) == {(FILLED_IN, FILLED_IN)}

    return is_grey(image.height - rows) and not is_grey(0)


def _too_large(width: int, height: int, max_pixels: int) -> Refusal:
    return Refusal("too_large", f"{width} x {height} pixels, allowed by ingest.max_pixels: {max_pixels}")


def _damaged(error: Exception, format_: str) -> Refusal:
    """The refusal for what a parser raised; its text only where it cannot hold an address in memory."""
    if isinstance(error, UnidentifiedImageError):
        return Refusal("decode_error", f"begins like {format_}, but is damaged or of a kind that is not read")
    text = f"{type(error).__name__}: {error}"
    if "MAX_TEXT" in text or "Decompressed data too large" in text:
        return Refusal("too_large", text)
    cut = isinstance(error, EOFError) or "truncat" in text.lower() or "unexpected end" in text.lower()
    return Refusal("truncated" if cut else "decode_error", text)
