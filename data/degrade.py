"""Degradations: clean image in, what the restorers are shown out. Same pixels on every machine.

All images are float32 (H, W, C) in [0, 1], C = 1 or 3; none is changed in place.
"""

from __future__ import annotations

import hashlib
import io
import math

import numpy as np
from bench.data import BAYER_PATTERNS
from bench.data.colour import to_8bit, to_unit
from bench.data.errors import DataError
from numpy.typing import NDArray

__all__ = ["awgn", "bayer", "bicubic", "fingerprint", "jpeg"]

Image = NDArray[np.float32]


def awgn(clean: Image, sigma: float, stream: np.random.RandomState) -> Image:
    """`clean` plus white Gaussian noise of standard deviation `sigma` (0-255 scale); neither clipped nor rounded.

    stream  where the noise is drawn from: float64, in the order of rows, columns, channels
    The sum is taken in float64 and rounded to float32 once, so that the same stream gives the same bits.
    """
    noise = stream.normal(0.0, sigma / 255, clean.shape)  # to the [0, 1] range of the image
    noisy: Image = (clean + noise).astype(np.float32)
    return noisy


def jpeg(clean: Image, quality: int) -> Image:
    """`clean` (H, W, 1), rounded to 8 bits, after gray JPEG at `quality` (1-100, the IJG scale) and back.

    Pillow codes and decodes with libjpeg-turbo, slow integer DCT.
    """
    from PIL import Image as Pillow

    pixels = to_8bit(clean).squeeze(axis=2)
    coded = io.BytesIO()
    Pillow.fromarray(pixels).save(coded, "JPEG", quality=quality)
    decoded = np.asarray(Pillow.open(coded))
    return to_unit(decoded)[..., np.newaxis]


def bayer(clean: Image, pattern: str) -> tuple[Image, NDArray[np.bool_]]:
    """One colour of `clean` (H, W, 3) at each pixel, as a camera's filter array lets through.

    pattern  one of BAYER_PATTERNS
    Answer   mosaic float32 (H, W, 1), and mask bool (H, W, 3), True where that colour was measured
    """
    if pattern not in BAYER_PATTERNS:
        raise DataError(f"No Bayer pattern '{pattern}'. Known: {', '.join(BAYER_PATTERNS)}.")
    height, width, channels = clean.shape
    if channels != 3:
        raise DataError(f"A Bayer mosaic is made of an image of 3 channels; this one has {channels}.")
    mask = np.zeros((height, width, 3), bool)
    for place, colour in enumerate(pattern):
        row, column = divmod(place, 2)
        mask[row::2, column::2, "RGB".index(colour)] = True
    mosaic = np.where(mask, clean, np.float32(0)).sum(axis=2, keepdims=True, dtype=np.float32)
    return mosaic, mask


def bicubic(image: Image, factor: float, *, rounded: bool = False) -> Image:
    """`image` resized by `factor` as MATLAB's `imresize(image, factor, "bicubic")`.

    factor   > 0; below 1 the kernel is widened by 1 / factor against aliasing, as MATLAB does
    rounded  as MATLAB resizes uint8: clipped and rounded to 8 bits after the columns and again after the rows, of
             which DnCNN's Table V has the marks (its 18 figures agree with it, and not without); otherwise neither
    Answer   float32 (ceil(H * factor), ceil(W * factor), C); float64 inside
    Source: imresize.m (Image Processing Toolbox), function `contributions`; the kernel is Keys's with a = -1/2
    (IEEE Trans. ASSP 29(6), 1981, Eq. 15).
    """
    if not (math.isfinite(factor) and factor > 0):
        raise DataError(f"A picture cannot be resized by a factor of {factor}: it must be above 0.")
    x: NDArray[np.floating] = image
    for _ in range(2):  # columns first: the number of rows changes, then the axes change places
        x = _resize_rows(x, factor).swapaxes(0, 1)
        x = to_unit(to_8bit(x)) if rounded else x
    return np.ascontiguousarray(x, np.float32)


def _resize_rows(x: NDArray[np.floating], factor: float) -> NDArray[np.float64]:
    """x (n, m, C) to (ceil(n * factor), m, C)."""
    indices, weights = _contributions(len(x), factor)
    resized = np.zeros((len(indices), *x.shape[1:]))
    for index, weight in zip(indices.T, weights.T, strict=True):
        resized += weight[:, None, None] * x[index]
    return resized


def _contributions(n: int, factor: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Which of n samples each output sample is made of, and how much of each: two arrays (n_out, taps).

    The border is mirrored with the edge sample repeated; each row of weights sums to 1.
    """
    n_out = math.ceil(n * factor)
    shrink = min(factor, 1.0)
    width = 4 / shrink
    centre = (np.arange(n_out) + 0.5) / factor - 0.5  # of each output sample, on the axis of the input
    first = np.floor(centre - width / 2).astype(np.intp)
    indices = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = shrink * _cubic(shrink * (centre[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.r_[:n, n - 1 : -1 : -1]
    used = weights.any(axis=0)
    return mirrored[indices[:, used] % (2 * n)], weights[:, used]


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys's interpolation kernel with a = -1/2, zero beyond |x| = 2. Any shape, kept."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def fingerprint(image: Image) -> str:
    """sha256, as 64 hex digits, of the values of an image: float32, little-endian, by rows, columns, channels."""
    return hashlib.sha256(np.ascontiguousarray(image, "<f4").tobytes()).hexdigest()
