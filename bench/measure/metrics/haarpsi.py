"""HaarPSI: similarity of Haar wavelet coefficients, weighed by what an eye looks at."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bench.measure.metrics.planes import Image, Plane, halved

__all__ = ["haarpsi"]

C = 30.0
ALPHA = 4.2
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
SMALLEST = 16


def haarpsi(x: Image, y: Image, *, peak: float) -> float:
    """Haar wavelet-based perceptual similarity index: from 0 to 1, 1 for equal pictures.

        HaarPSI = l^-1( sum l(HS) W / sum W )^2,   l(s) = 1 / (1 + exp(-4.2 s))

    HS is the mean similarity S(a, b) = (2 a b + C) / (a^2 + b^2 + C), C = 30 on the scale of 0-255, of the
    magnitudes of coefficients at the two finest scales; W the greater magnitude at the third. One of each for
    horizontal and for vertical steps, of the picture halved by means of 2 x 2 pixels. In colour those of Y, and the
    similarity of I and Q, smoothed over 2 x 2 pixels, weighed by the mean of both W.
    Pixels outside the picture are 0. nan for less than 16 pixels a side.
    Source: Reisenhofer, Bosse, Kutyniok, Wiegand, Signal Processing: Image Communication 61, 2018.
    """
    if min(x.shape[:2]) < SMALLEST:
        return math.nan
    x_planes, y_planes = (_planes(image * (255 / peak)) for image in (x, y))
    similar, weights = [], []
    for axis in (0, 1):
        of_x, of_y = (
            [np.abs(_haar(planes[0], scale, axis)) for scale in (1, 2, 3)] for planes in (x_planes, y_planes)
        )
        similar.append((_similarity(of_x[0], of_y[0]) + _similarity(of_x[1], of_y[1])) / 2)
        weights.append(np.maximum(of_x[2], of_y[2]))
    if len(x_planes) == 3:
        chroma = [_similarity(*(np.abs(_mean_2x2(p[c])) for p in (x_planes, y_planes))) for c in (1, 2)]
        similar.append((chroma[0] + chroma[1]) / 2)
        weights.append((weights[0] + weights[1]) / 2)
    s, w = np.array(similar), np.array(weights)
    mean = (_logistic(s) * w).sum() / w.sum() if w.any() else _logistic(np.ones(1)).item()
    return min(1.0, float((math.log(mean / (1 - mean)) / ALPHA) ** 2))  # rounding alone takes it above


def _planes(image: Image) -> list[Plane]:
    """The halved picture's gray, or its Y, I and Q."""
    planes = image if image.shape[2] == 1 else image @ TO_YIQ.T
    return [halved(planes[..., c], border="constant") for c in range(planes.shape[2])]


def _haar(x: Plane, scale: int, axis: int) -> Plane:
    """Coefficients of the Haar filter of 2^scale x 2^scale, one at each pixel: half minus half, over 2^scale."""
    n = 2**scale
    mean = np.full(n, 1 / n)
    step = np.repeat([1.0, -1.0], n // 2)
    return _filtered(_filtered(x, step, axis), mean, 1 - axis)


def _mean_2x2(x: Plane) -> Plane:
    mean = np.full(2, 0.5)
    return _filtered(_filtered(x, mean, 0), mean, 1)


def _filtered(x: Plane, weights: NDArray[np.float64], axis: int) -> Plane:
    """Convolution along an axis, of the size of x: MATLAB's `same`, for weights of even length."""
    from scipy.ndimage import convolve1d

    filtered: Plane = convolve1d(x, weights, axis=axis, mode="constant")
    return filtered


def _similarity(a: Plane, b: Plane) -> Plane:
    return (2 * a * b + C) / (a**2 + b**2 + C)


def _logistic(s: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-ALPHA * s))
