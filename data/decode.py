"""Image files to 8-bit pixels, saying what was converted and refusing what has no single right answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bench.data.errors import DataError
from bench.data.limits import most_pixels
from bench.data.picture import Values, jpeg_quality, read_header, read_values
from numpy.typing import NDArray

__all__ = ["decode", "header", "jpeg_quality", "pixels_of"]


def header(path: Path) -> tuple[int, int, int] | None:
    """(width, height, channels) as `decode` will give them, or None if the header cannot be read."""
    most_pixels()  # raises
    try:
        return read_header(path)
    except DataError:  # `decode` says what is wrong
        return None


def decode(path: Path) -> tuple[NDArray[np.uint8], str]:
    """Pixels uint8 (H, W, C), C = 1 or 3, as stored, and what a user should know of them: remarks joined by "; ".

    What was converted or lost, a rotation tag (none is applied), equal channels; empty if nothing is to be told.
    Raises DataError, naming the file, if it is of a format or a size that is not decoded, is damaged, or cannot be
    converted without a choice that is the user's (transparency, CMYK, several pages, ...).
    """
    return pixels_of(read_values(path))


def pixels_of(values: Values) -> tuple[NDArray[np.uint8], str]:
    """The answer of `decode`, of values that were decoded here or elsewhere."""
    notes = [*values.notes]
    pixels = np.frombuffer(values.content, np.uint8).reshape(values.height, values.width, values.channels)
    if values.channels == 3 and np.array_equal(pixels[..., :2], pixels[..., 1:]):
        notes.append("its three channels are equal: a gray picture stored as colour, measured as colour")
    return pixels, "; ".join(notes)
