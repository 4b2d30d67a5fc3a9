"""Image files to 8-bit pixels, saying what was converted and refusing what has no single right answer."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
from functools import cache
from pathlib import Path

import numpy as np
from bench.data.errors import DataError
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

__all__ = ["decode", "header", "jpeg_quality"]

_GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_REFUSED = {
    "CMYK": "is in CMYK, which has no one conversion to RGB",
    "F": "has floating-point values of unknown range",
    "LAB": "is in Lab colours",
    "HSV": "is in HSV colours",
    "YCbCr": "is in YCbCr colours",
}
_LOSSLESS = ("BMP", "DIB", "GIF", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA", "TIFF")
_COUNTS = "whose losses count as clean here"
_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274  # tags of TIFF, and the last one of EXIF


def header(path: Path) -> tuple[int, int, int] | None:
    """(width, height, channels) as `decode` will give them, or None if the header cannot be read."""
    try:
        with _open(path) as image:
            return *_stored_size(image), 1 if image.mode in _GRAY_MODES else 3
    except Exception:  # Pillow's plugins raise many kinds; `decode` says what is wrong
        return None


def decode(path: Path) -> tuple[NDArray[np.uint8], str]:
    """Pixels uint8 (H, W, C), C = 1 or 3, as stored, and what a user should know of them: remarks joined by "; ".

    What was converted or lost, a rotation tag (none is applied), equal channels; empty if nothing is to be told.
    Raises DataError, naming the file, if it is damaged or of a kind that cannot be converted without a choice that is
    the user's (transparency, CMYK, several pages, ...).
    """
    try:
        with _open(path) as image:
            return _to_8bit(image, path)
    except DataError:
        raise
    except Exception as error:
        reason = "its format is unknown or damaged" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{path} cannot be read as an image: {reason}. Replace or remove it.") from error


def _open(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of size and odd metadata; what cannot be decoded raises
        return Image.open(path)


def _to_8bit(image: Image.Image, path: Path) -> tuple[NDArray[np.uint8], str]:
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        if image.format != "MPO":  # what cameras save as .jpg: the picture, then previews of it
            raise DataError(f"{path} holds several pictures. Save the one that is meant to a file of its own.")
        notes.append("first of several pictures")
    if losses := _losses(image, path):
        notes.append(losses)
    if reason := _unfit(image):
        raise DataError(f"{path} {reason}. Save it as 8-bit RGB or gray.")
    if _is_16bit(image):  # asked before the pixels are loaded, which forgets it
        notes.append("16 bits a channel reduced to the upper 8")
    if _is_turned(image):
        notes.append("its EXIF tag says that it is to be rotated: ignored, measured as stored")
    if image.mode.startswith("I"):
        return (np.asarray(image) >> 8).astype(np.uint8)[..., None], "; ".join(notes)
    if image.mode == "1":
        notes.append("black and white as 0 and 255")
    if image.mode.startswith("P"):
        notes.append("palette expanded to RGB")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        if np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
            raise DataError(f"{path} has transparent pixels. Save it without, over the background that is meant.")
        notes.append("alpha channel dropped (opaque)")
    pixels = np.asarray(image.convert("L" if image.mode in _GRAY_MODES else "RGB"))
    if pixels.ndim == 3 and np.array_equal(pixels[..., :2], pixels[..., 1:]):
        notes.append("its three channels are equal: a gray picture stored as colour, measured as colour")
    return pixels.reshape(image.height, image.width, -1), "; ".join(notes)


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """(width, height); of a TIFF that has a rotation tag Pillow tells those after rotation."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(_WIDTH, image.width), tags.get(_HEIGHT, image.height)


def _is_turned(image: Image.Image) -> bool:
    """Whether a tag says that the picture is to be rotated or mirrored. From here on Pillow does not know it.

    It would rotate a TIFF on loading, and no other kind.
    """
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # damaged metadata is no damaged picture
        warnings.simplefilter("ignore")
        turn = image.getexif().pop(_ORIENTATION, 1)
        image._size = _stored_size(image)
        return turn in range(2, 9)
    return False


def _losses(image: Image.Image, path: Path) -> str:
    """The remark on how the file was compressed, by its content; empty if nothing was lost by that."""
    if quality := jpeg_quality(image):
        return f"a JPEG of quality {quality}, {_COUNTS}"
    compression = str(image.info.get("compression", ""))
    if image.format == "TIFF" and ("jpeg" in compression or compression == "webp"):
        return f"a TIFF compressed as {compression.removeprefix('tiff_').upper()}, {_COUNTS}"
    if image.format == "WEBP":
        return "" if _webp_is_lossless(path) else f"a lossy WebP, {_COUNTS}"
    if image.format == "JPEG2000":
        return "" if _jpeg2000_is_reversible(path) else f"a lossy JPEG 2000, {_COUNTS}"
    if image.format in _LOSSLESS:
        return ""
    return f"of the kind {image.format}, whose losses, if it has any, count as clean here"


def _webp_is_lossless(path: Path) -> bool:
    """Whether the picture's chunk is VP8L; in an extended file others come before it."""
    with path.open("rb") as opened:
        opened.seek(12)
        while len(head := opened.read(8)) == 8:
            kind, size = struct.unpack("<4sI", head)
            if kind in (b"VP8 ", b"VP8L"):
                return bool(kind == b"VP8L")
            opened.seek(16 if kind == b"ANMF" else size + size % 2, os.SEEK_CUR)  # a frame holds chunks of its own
    return False


def _jpeg2000_is_reversible(path: Path) -> bool:
    """Whether the wavelet transform is of integers, by the coding style (COD) in the header of the code stream."""
    content = path.read_bytes()
    at = content.index(b"\xff\x4f\xff\x51") + 2  # start of the code stream, then its first segment
    while at + 14 <= len(content) and (marker := content[at : at + 2]) != b"\xff\x90":  # the first tile
        if marker == b"\xff\x52":
            return content[at + 13] == 1
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return False


def jpeg_quality(image: Image.Image) -> str:
    """The IJG quality whose luma quantisation table an opened JPEG has: "75", "about 90" if none is quite its own.

    Empty for any other kind of file.
    """
    table = getattr(image, "quantization", {}).get(0)
    if not table:
        return ""
    tables = _ijg_tables()
    nearest = min(tables, key=lambda quality: float(np.abs(tables[quality] - table).sum()))
    return f"{nearest}" if np.array_equal(tables[nearest], table) else f"about {nearest}"


@cache
def _ijg_tables() -> dict[int, NDArray[np.int64]]:
    """libjpeg's luma table at each quality, as it writes them itself. Of equal ones the highest quality stays."""
    tables = {}
    for quality in range(1, 101):
        coded = io.BytesIO()
        Image.new("L", (8, 8)).save(coded, "JPEG", quality=quality)
        tables[quality] = np.array(Image.open(coded).quantization[0])  # type: ignore[attr-defined]
    return tables


def _unfit(image: Image.Image) -> str | None:
    """Why the values have no one conversion to 8-bit gray or RGB, or None."""
    if image.mode == "I" and image.format == "TIFF":
        return "has 32-bit values of unknown range"
    return _REFUSED.get(image.mode)


def _is_16bit(image: Image.Image) -> bool:
    """Whether a channel of the file has 16 bits: Pillow opens 16-bit colours as 8-bit ones without a word."""
    if image.mode.startswith("I"):
        return True
    coding = [tile[3] for tile in getattr(image, "tile", ())]  # e.g. "RGB;16B", ("RGB;16L", 0, 1), ("RGB", 65535)
    return any(";16" in str(args) for args in coding) or (
        image.format == "PPM" and any(isinstance(args, tuple) and int(args[-1]) > 255 for args in coding)
    )
