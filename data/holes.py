"""Inpainting: which pixels of a picture are there, by chance or by a file, and the picture without the others.

A mask is bool (H, W, 1), True where a pixel is there. All colours of a pixel are there or missing together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bench.data.degrade import Image
from bench.data.errors import DataError, in_a_line
from bench.data.given_file import array_of, place_of
from numpy.typing import NDArray

__all__ = ["Mask", "mask_for", "pierced", "random_mask", "read_mask"]

Mask = NDArray[np.bool_]


def pierced(clean: Image, mask: Mask) -> Image:
    """`clean` (H, W, C) with 0 where `mask` (H, W, 1) is False. Raises DataError for a mask of another size."""
    if mask.shape[:2] != clean.shape[:2]:
        (height, width), (h, w) = clean.shape[:2], mask.shape[:2]
        raise DataError(f"The mask is {w}x{h} and the picture {width}x{height}: they must be of one size.")
    return np.where(mask, clean, np.float32(0))


def mask_for(level: float | str, shape: tuple[int, ...], stream: np.random.RandomState) -> Mask:
    """For a picture of `shape` (H, W, C): of a share by chance, or of the file that `level` names."""
    if isinstance(level, str):
        return read_mask(place_of(level))
    return random_mask(shape[0], shape[1], level, stream)


def random_mask(height: int, width: int, missing: float, stream: np.random.RandomState) -> Mask:
    """Each pixel is missing with probability `missing`, 0 to 1, whatever the others are."""
    if not 0 <= missing <= 1:
        raise DataError(f"A share of {missing} missing pixels: it must be from 0 to 1.")
    mask: Mask = stream.random_sample((height, width, 1)) >= missing
    return mask


def read_mask(path: Path) -> Mask:
    """The mask in a file: a gray picture or an array (H, W) in .npy; what is not 0 is there, so black is missing.

    Raises DataError for another shape, for gray levels in between (an edge that was smoothed says neither), and for
    a mask that leaves no pixel.
    """
    named = f"The mask {in_a_line(path)}"
    values = array_of(path)
    if values.ndim != 2:
        raise DataError(f"{named} has the shape {values.shape}: rows and columns are expected.")
    found = np.unique(values)
    if len(found) > 2 or (len(found) == 2 and found[0] != 0):
        raise DataError(
            f"{named} has {len(found)} different values: 0 for missing pixels and one other are expected."
        )
    mask: Mask = values[..., None] != 0
    if not mask.any():
        raise DataError(f"{named} leaves no pixel: what is not 0 is there.")
    return mask
