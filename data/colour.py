"""The colour conversions that the papers used: MATLAB's, on 8-bit values, to the last bit.

Pillow's `convert("L")` rounds otherwise: it gives other pixels for 39 of the 68 images of cbsd68.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["luma", "rgb2gray", "to_8bit", "to_unit"]

# MATLAB's rgb2gray.m inverts the NTSC matrix of rgb2ntsc.m and takes the first row; its help rounds these
# to 0.2989, 0.5870, 0.1140.
_YIQ_TO_RGB = np.array([[1.0, 0.956, 0.621], [1.0, -0.272, -0.647], [1.0, -1.106, 1.703]])
_GRAY = np.linalg.inv(_YIQ_TO_RGB)[0]

# First row of the matrix of MATLAB's rgb2ycbcr.m, in thousandths: ITU-R BT.601, studio swing (16 to 235).
_LUMA = np.array([65_481, 128_553, 24_966], np.int32)


def rgb2gray(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray levels of an RGB image as MATLAB's `rgb2gray`.

        gray = round(0.29894 R + 0.58704 G + 0.11402 B)

    rgb  uint8 (H, W, 3); the answer is uint8 (H, W)
    The weighted sum is taken in float64, red first, and rounded once, halves up, as `imapplymatrix` does.
    Source: rgb2gray.m (Image Processing Toolbox). Checked: bsd68 is this of cbsd68, 68 images of 68.
    """
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    gray = _GRAY[0] * red + _GRAY[1] * green + _GRAY[2] * blue
    rounded: NDArray[np.uint8] = np.floor(gray + 0.5).astype(np.uint8)
    return rounded


def luma(image: NDArray[np.float32], *, rounded: bool = True) -> NDArray[np.float32]:
    """The luma that JPEG and super-resolution papers score: channel Y of MATLAB's `rgb2ycbcr`.

        Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255,   R, G, B = 0, ..., 255

    image    float32 (H, W, 1 or 3) in [0, 1], an 8-bit image divided by 255; one channel passes unchanged
    rounded  to whole grey levels, as `rgb2ycbcr` does with uint8 and not with doubles
    Answer   float32 (H, W, 1): grey levels from 16 to 235, divided by 255
    MATLAB sums in double (`imlincomb`) and rounds once, halves up. We sum in whole numbers, which is exact,
    and cannot differ but where the fraction is one half: 194 colours of the 16.8 million.
    Source: rgb2ycbcr.m (Image Processing Toolbox); ITU-R BT.601-7, Sec. 2.5.
    """
    if image.shape[-1] == 1:
        return image
    grey = 16 * 255_000 + (to_8bit(image).astype(np.int32) @ _LUMA)[..., None]  # in units of 1 / 255,000
    if rounded:
        return to_unit(((grey + 127_500) // 255_000).astype(np.uint8))
    return (grey / (255 * 255_000)).astype(np.float32)


def to_8bit(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """[0, 1] to the nearest of 0, ..., 255; what lies outside is clipped. Any shape, kept."""
    pixels: NDArray[np.uint8] = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return pixels


def to_unit(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """0, ..., 255 to float32 in [0, 1]. Any shape, kept."""
    return pixels.astype(np.float32) / np.float32(255)
