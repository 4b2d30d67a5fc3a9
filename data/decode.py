"""Image files to 8-bit pixels, saying what was converted and refusing what has no single right answer."""

from __future__ import annotations

import io
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


def header(path: Path) -> tuple[int, int, int] | None:
    """(width, height, channels) as `decode` will give them, or None if the header cannot be read."""
    try:
        with _open(path) as image:
            return image.width, image.height, 1 if image.mode in _GRAY_MODES else 3
    except Exception:  # Pillow's plugins raise many kinds; `decode` says what is wrong
        return None


def decode(path: Path) -> tuple[NDArray[np.uint8], str]:
    """Pixels uint8 (H, W, C), C = 1 or 3, as stored (rotation tags are not applied), and what was converted.

    The note is empty if nothing was. Raises DataError, naming the file, if it is damaged or of a kind that
    cannot be converted without a choice that is the user's (transparency, CMYK, several pages, ...).
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
    if quality := jpeg_quality(image):
        notes.append(f"a JPEG of quality {quality}, whose losses count as clean here")
    if reason := _unfit(image):
        raise DataError(f"{path} {reason}. Save it as 8-bit RGB or gray.")
    if _is_16bit(image):  # asked before the pixels are loaded, which forgets it
        notes.append("16 bits a channel reduced to the upper 8")
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
    return pixels.reshape(image.height, image.width, -1), "; ".join(notes)


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
