"""Blur: kernels by name or from a file, and what they make of a picture.

    kernel = kernel_named("gaussian-1.6")   # or "motion-15-45", "uniform-9", "./kernel.npy"
    seen = blurred(clean, kernel)           # then noise, as `awgn` adds it

A kernel is float64 (h, w), its values sum to 1. Its centre is at row h // 2, column w // 2.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from bench.data.degrade import Image
from bench.data.errors import DataError, in_a_line, near_miss
from bench.data.given_file import array_of, place_of
from numpy.typing import NDArray

__all__ = [
    "Kernel",
    "blurred",
    "file_of",
    "gaussian",
    "kernel_named",
    "motion",
    "normalised",
    "read_kernel",
    "uniform",
]

Kernel = NDArray[np.float64]

MOST_TAPS = 101
"""Rows or columns of a kernel. The largest of the field have some 40."""
_STEP = 2.0**-40
"""Values of named kernels are multiples of it, so that machines whose `exp` differs in its last bit agree."""

KNOWN = ("gaussian-STD", "motion-LENGTH-ANGLE", "uniform-SIDE")


def blurred(clean: Image, kernel: Kernel) -> Image:
    """`clean` (H, W, C) convolved with `kernel`, channel by channel, on a picture that repeats at its borders.

        y[m, n] = sum_{i, j} k[i, j] x[(m - i + h // 2) mod H, (n - j + w // 2) mod W]

    Periodic (circular), as in the programs of IDD-BM3D and DPIR: the blur is a product in the Fourier domain, no
    pixel is lost, and what lies at one border is seen at the other. Neither clipped nor rounded.
    The sum runs in float64 in the order of the kernel's values, so that every machine gives the same bits.
    Source: Danielyan, Katkovnik, Egiazarian, IEEE TIP 21(4), 2012; Zhang et al., IEEE TPAMI 44(10), 2022,
    Sec. 5.1, whose program calls scipy.ndimage.convolve(mode="wrap").
    """
    (height, width), (rows, columns) = clean.shape[:2], kernel.shape
    around = [((n - 1) // 2, n // 2) for n in kernel.shape]
    x = np.pad(clean.astype(np.float64), [*around, (0, 0)], "wrap")
    y, term = np.zeros(clean.shape), np.empty(clean.shape)
    for i, j in np.argwhere(kernel).tolist():
        top, left = rows - 1 - i, columns - 1 - j  # a convolution turns the kernel by 180 degrees
        y += np.multiply(kernel[i, j], x[top : top + height, left : left + width], out=term)
    return y.astype(np.float32)


# --- kernels -------------------------------------------------------------------------------------


def gaussian(std: float) -> Kernel:
    """A Gaussian of standard deviation `std` > 0 pixels on 25 x 25 of them, or on 4 std at each side if that is more.

    25 x 25 is the size of `fspecial("gaussian", 25, 1.6)` in IDD-BM3D's and DPIR's settings.
    """
    if not 0 < std <= (MOST_TAPS - 1) / 8:
        raise DataError(f"A Gaussian blur of {std} pixels: it must be above 0, and at most {(MOST_TAPS - 1) / 8:g}.")
    radius = max(12, math.ceil(4 * std))
    h = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * std**2))
    return normalised(np.rint(np.outer(h, h) / _STEP) * _STEP)


def motion(length: float, degrees: float) -> Kernel:
    """A camera that moves `length` >= 1 pixels on a straight line while the shutter is open.

        h proportional to max(0, 1 - d),   d the distance of a pixel's centre to the line

    degrees  from the horizontal, anticlockwise
    The line is `length` - 1 long from end to end: a `length` of 1 is no blur.
    Source: the documentation of MATLAB's fspecial("motion", len, theta), section Algorithms.
    """
    if not 1 <= length <= MOST_TAPS - 2:
        raise DataError(f"A motion of {length} pixels: it must be from 1 to {MOST_TAPS - 2}.")
    if not math.isfinite(degrees):
        raise DataError(f"A motion at an angle of {degrees}: it must be a number of degrees.")
    half = (length - 1) / 2
    along_x, along_y = math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))  # rows run downwards
    radius = math.ceil(half)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    t = np.clip(x * along_x + y * along_y, -half, half)  # the nearest point of the line
    d = np.hypot(x - t * along_x, y - t * along_y)
    return normalised(np.rint(np.maximum(0, 1 - d) / _STEP) * _STEP)


def uniform(side: float) -> Kernel:
    """The mean over `side` x `side` pixels, an odd number of them, so that nothing is moved."""
    if not (1 <= side <= MOST_TAPS and side % 2 == 1):
        raise DataError(f"A uniform blur of {side:g} pixels: it must be an odd number from 1 to {MOST_TAPS}.")
    return np.full((int(side), int(side)), 1 / side**2)


def normalised(h: NDArray[np.generic], named: str = "The kernel") -> Kernel:
    """`h` (h, w) as float64, divided by its sum.

    named  what the error is to call it
    Raises DataError for one that is no array of two axes, is too large, is not finite, or sums to zero or less.
    """
    if h.ndim != 2 or not h.size:
        raise DataError(f"{named} has the shape {h.shape}: rows and columns are expected.")
    if max(h.shape) > MOST_TAPS:
        raise DataError(
            f"{named} has {h.shape[0]} x {h.shape[1]} values: at most {MOST_TAPS} x {MOST_TAPS} are read."
        )
    weights = h.astype(np.float64)
    total = float(weights.sum())
    if not math.isfinite(total):
        raise DataError(f"{named} holds values that are not finite.")
    if total <= 0:
        raise DataError(f"{named} sums to {total:g}: a blur that keeps brightness has a sum above 0.")
    return weights / total


def read_kernel(path: Path) -> Kernel:
    """The kernel in a file: an array of two axes in .npy, or a gray picture whose 8-bit values are its weights."""
    return normalised(array_of(path), f"The kernel {in_a_line(path)}")


def kernel_named(text: str) -> Kernel:
    """The kernel that a user means by `gaussian-1.6`, `motion-15-45`, `uniform-9` or the path of a file.

    Raises DataError naming what was found and the nearest right thing.
    """
    name, _, numbers = text.partition("-")
    if name == "gaussian":
        return gaussian(*_numbers(text, numbers, 1))
    if name == "motion":
        return motion(*_numbers(text, numbers, 2))
    if name == "uniform":
        return uniform(*_numbers(text, numbers, 1))
    path = file_of(text)
    if path is not None:
        return read_kernel(path)
    known = near_miss(name, [form.partition("-")[0] for form in KNOWN])
    raise DataError(f"No kernel named '{in_a_line(text, 60)}'.{known} Spelled {', '.join(KNOWN)}, or ./file.")


def file_of(text: str) -> Path | None:
    """The file that a kernel is read from; None for one that has a name of ours."""
    is_path = "/" in text or os.sep in text
    return place_of(text) if is_path else None


def _numbers(kernel: str, text: str, n: int) -> list[float]:
    try:
        numbers = [float(word) for word in text.split("-")]
        if len(numbers) == n:
            return numbers
    except ValueError:
        pass
    name = kernel.partition("-")[0]
    spelled = next(form for form in KNOWN if form.startswith(name))
    raise DataError(f"The kernel '{in_a_line(kernel, 60)}' is not spelled as {spelled}.")
