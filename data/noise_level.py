"""How noisy a picture is, estimated from itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["estimated_sigma"]


def estimated_sigma(noisy: NDArray[np.float32]) -> float:
    """The standard deviation of white Gaussian noise in `noisy` (H, W, C) in [0, 1], on the 0-255 scale.

        sigma = median |d| / 0.6745,   d the diagonal coefficients of the orthonormal Haar transform

    each channel alone, then their mean; two decimals. Texture makes it too large, noise that is correlated (after a
    camera's processing, or JPEG) too small. nan for less than 2 pixels a side.
    Source: Donoho & Johnstone, Biometrika 81(3), 1994.
    """
    height, width = (n - n % 2 for n in noisy.shape[:2])
    if not height * width:
        return float("nan")
    x = 255 * noisy[:height, :width].astype(np.float64)
    d = (x[::2, ::2] - x[1::2, ::2] - x[::2, 1::2] + x[1::2, 1::2]) / 2
    return round(float(np.mean(np.median(np.abs(d), axis=(0, 1)) / 0.6745)), 2)
