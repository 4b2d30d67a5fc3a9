"""What several metrics share: the gray of colours, windows that lie inside the picture, halving."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Image", "Plane", "gaussian", "gray", "halved", "inside"]

Image: TypeAlias = NDArray[np.float64]
"""(H, W, C), C = 1 or 3."""

Plane: TypeAlias = NDArray[np.float64]
"""(H, W)"""


def gray(x: Image) -> Plane:
    """0.299 R + 0.587 G + 0.114 B, not rounded (ITU-R BT.601, full swing); the one channel of a gray picture."""
    weights = np.array([0.299, 0.587, 0.114]) if x.shape[2] == 3 else np.ones(1)
    plane: Plane = x @ weights
    return plane


def gaussian(size: int, std: float) -> NDArray[np.float64]:
    """`size` samples of a Gaussian around their middle, of sum 1: a window is their outer product."""
    g: NDArray[np.float64] = np.exp(-((np.arange(size) - (size - 1) / 2) ** 2) / (2 * std**2))
    normalised: NDArray[np.float64] = g / g.sum()
    return normalised


def inside(x: Plane, window: NDArray[np.float64]) -> Plane:
    """x (H, W) weighted by the outer product of `window` (k,) with itself, at each place where that lies inside x.

    Answer  (H - k + 1, W - k + 1)
    """
    from scipy.ndimage import correlate1d

    k = len(window)
    rows, columns = (slice(k // 2, k // 2 + n - k + 1) for n in x.shape)
    smoothed = correlate1d(x, window, axis=0)[rows]
    plane: Plane = correlate1d(smoothed, window, axis=1)[:, columns]
    return plane


def halved(x: Plane, *, border: str) -> Plane:
    """Means of 2 x 2 pixels side by side, (ceil(H / 2), ceil(W / 2)).

    border  what an odd side is continued by, as numpy.pad names it
    """
    height, width = x.shape
    even = np.pad(x, ((0, height % 2), (0, width % 2)), mode=border)  # type: ignore[call-overload]
    plane: Plane = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    return plane
