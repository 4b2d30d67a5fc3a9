"""Arrays in a user's own small files, kernels and masks: bounded, never run, named in what goes wrong."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from bench.data.errors import DataError, in_a_line
from bench.data.regular import open_regular
from numpy.typing import NDArray

__all__ = ["array_of", "place_of"]

MOST_BYTES = 128 << 20


def place_of(named: str | Path) -> Path:
    """The path that a user means, `~` and `~name` expanded. Raises DataError if there is no user of that name."""
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise DataError(f"{in_a_line(named)}: there is no user of that name.") from None


def array_of(path: Path) -> NDArray[np.generic]:
    """Numbers of any shape from .npy, without pickles; or a gray picture's 8-bit values, uint8 (H, W).

    Raises DataError, naming the file, for one that is missing, too large, damaged, no numbers, or in colour.
    """
    if path.suffix.lower() != ".npy":
        return _gray(path)
    named = in_a_line(path)
    try:
        with open_regular(path) as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{named} cannot be read: {error.strerror or error}.") from None
    if len(content) > MOST_BYTES:
        raise DataError(f"{named} has more than {MOST_BYTES >> 20} MiB, which are all that is read.")
    try:
        array: NDArray[np.generic] = np.load(io.BytesIO(content), allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
            raise ValueError("it holds no real numbers")
    except Exception as error:  # NumPy's reader raises many kinds of a damaged header
        raise DataError(f"{named} cannot be read as a NumPy array: {in_a_line(error, 200)}.") from None
    return array


def _gray(path: Path) -> NDArray[np.generic]:
    from bench.data.decoder import decode

    pixels, _ = decode(path)
    if pixels.shape[2] == 3 and not np.array_equal(pixels[..., :2], pixels[..., 1:]):
        raise DataError(f"{in_a_line(path)} is in colour. Save it as gray, or its values as .npy.")
    return pixels[..., 0]
