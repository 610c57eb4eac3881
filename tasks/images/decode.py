"""What a net sees of an encoded image that passed its check: upright, 8 bits, its middle, at one size."""

import io

import numpy as np
from PIL import Image, ImageOps

from tasks.images.jpeg import decoded, plain_frame
from tasks.images.record import Refusal
from tasks.images.sniff import EIGHT_BIT, FORMATS, GREY_16

SCALE_OF = {"L;2": 85, "L;4": 17}  # grey of less than 8 bits, as Pillow names it
BITS, PHOTOMETRIC, WHITE_IS_ZERO, LOWEST, HIGHEST = 258, 262, 0, 340, 341  # TIFF tags and a value


def decode(content: bytes, size: int, channels: int, background: int) -> np.ndarray:
    """A checked image as a net sees it: uint8 [channels, size, size], upright, on a grey `background`.

    The shorter side is scaled to `size`, the middle is cut out. Shrinking is bicubic with antialiasing. Growing is
    bilinear: it stays within the range of its neighbours, where bicubic draws halos around the strokes of small images.
    """
    mode = "L" if channels == 1 else "RGB"
    image = _plain_jpeg(content, size)
    plain = _eight_bit(image, mode, background) if image else _opened(content, size, mode, background)
    side = min(plain.size)
    if plain.size != (size, size):
        left, top = (plain.width - side) / 2, (plain.height - side) / 2
        resample = Image.Resampling.BICUBIC if side > size else Image.Resampling.BILINEAR
        plain = plain.resize((size, size), resample, box=(left, top, left + side, top + side))
    pixel = np.asarray(plain)
    return pixel[None] if channels == 1 else pixel.transpose(2, 0, 1)


def _plain_jpeg(content: bytes, size: int) -> Image.Image | None:
    """A JPEG that needs no more than its decoder; this saves most of a small image's time."""
    frame = plain_frame(content)
    return decoded(content, *frame) if frame and min(frame[1:]) <= 2 * size else None


def _opened(content: bytes, size: int, mode: str, background: int) -> Image.Image:
    """Any image, upright, in 8 bits."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        _mend_transparency(image)
        if min(image.size) > 2 * size:
            image.draft(None, (2 * size, 2 * size))  # JPEG: decode at 1/2, 1/4 or 1/8, still twice what is needed
        ImageOps.exif_transpose(image, in_place=True)
        return _eight_bit(image, mode, background)


def _mend_transparency(image: Image.Image) -> None:
    """A PNG names its transparent colour in its own bits, and Pillow compares it with the 8 bits it made of them.

    Of 16-bit colour Pillow keeps the upper 8 bits (an error below 1/255), so the name is shortened likewise.
    """
    hidden = image.info.get("transparency")
    if image.format != "PNG" or hidden is None:
        return
    kept = "".join(str(tile.args) for tile in getattr(image, "tile", [])[:1])
    if kept in SCALE_OF:
        image.info["transparency"] = hidden * SCALE_OF[kept]
    elif kept == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in hidden)


def refuse_range(image: Image.Image) -> Refusal | None:
    """Why an image of more than 8 bits a pixel cannot be scaled to them, or None where it can."""
    limits = _range(image)
    if limits is None:
        what = f"{'floating-point' if image.mode == 'F' else 'signed or 32-bit'} values without a declared range"
        return Refusal("needs_range", f"{what}; write the TIFF tags SMinSampleValue and SMaxSampleValue")
    value = np.asarray(image)
    low, high = float(value.min()), float(value.max())
    if limits[0] <= low and high <= limits[1]:  # false for a NaN too
        return None
    return Refusal("needs_range", f"values from {low:g} to {high:g}, but {limits[0]:g} to {limits[1]:g} are declared")


def _range(image: Image.Image) -> tuple[float, float] | None:
    """What stands for black and for white in an image of more than 8 bits; None where nobody says."""
    tags = getattr(image, "tag_v2", {})
    if LOWEST in tags and HIGHEST in tags:
        low, high = (value[0] if isinstance(value, tuple) else value for value in (tags[LOWEST], tags[HIGHEST]))
        return (float(low), float(high)) if low < high else None
    if image.mode not in GREY_16:
        return None
    bits = tags.get(BITS, 16)
    return 0.0, 2.0 ** (bits[0] if isinstance(bits, tuple) else bits) - 1


def _scaled(image: Image.Image, limits: tuple[float, float]) -> Image.Image:
    """An image of more than 8 bits as `L`, or as `LA` where one of its values means transparent."""
    value = np.asarray(image)
    low, high = limits
    grey = np.rint((value.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = 255 - grey
    hidden = image.info.get("transparency")
    if hidden is None:
        return Image.fromarray(grey)
    alpha = np.where(value == hidden, 0, 255).astype(np.uint8)
    return Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))


def _eight_bit(image: Image.Image, mode: str, background: int) -> Image.Image:
    """Any mode as 8-bit `L` or `RGB`: transparency over grey, 16 bits scaled by their range, CMYK through RGB."""
    if image.mode not in EIGHT_BIT:
        limits = _range(image)
        if limits is None:
            raise ValueError(f"no range is known for pixels of the kind {image.mode}")
        image = _scaled(image, limits)
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        below = Image.new("RGBA", colour.size, (background, background, background, 255))
        image = Image.alpha_composite(below, colour).convert("RGB")
    if image.mode == mode:
        return image
    return (image if image.mode in {"1", "L", "RGB"} else image.convert("RGB")).convert(mode)
