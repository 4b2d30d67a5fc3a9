"""GMSD: how unevenly the similarity of gradients is spread over a picture."""

from __future__ import annotations

import math

import numpy as np

from bench.measure.metrics.planes import Image, Plane, gray, halved

__all__ = ["gmsd"]

C = 170.0
"""of pictures from 0 to 255"""


def gmsd(x: Image, y: Image, *, peak: float) -> float:
    """Gradient magnitude similarity deviation: 0 for equal pictures, more the worse.

        GMS = (2 m_x m_y + c) / (m_x^2 + m_y^2 + c),   GMSD = the standard deviation of GMS over pixels

    m is the magnitude of the Prewitt gradient (weights 1/3) of the gray picture, halved by means of 2 x 2 pixels;
    c = 170 on the scale of 0-255. The deviation divides by n - 1, and pixels outside the picture are 0, as in the
    authors' program. nan for less than 4 pixels a side.
    Source: Xue, Zhang, Mou, Bovik, IEEE TIP 23(2), 2014.
    """
    if min(x.shape[:2]) < 4:
        return math.nan
    m_x, m_y = (_gradient(halved(gray(image) * (255 / peak), border="constant")) for image in (x, y))
    gms = (2 * m_x * m_y + C) / (m_x**2 + m_y**2 + C)
    return float(np.std(gms, ddof=1))


def _gradient(x: Plane) -> Plane:
    from scipy.ndimage import correlate1d

    third, step = np.full(3, 1 / 3), np.array([1.0, 0.0, -1.0])

    def along(axis: int) -> Plane:
        steps = correlate1d(x, step, axis=axis, mode="constant")
        summed: Plane = correlate1d(steps, third, axis=1 - axis, mode="constant")
        return summed

    return np.hypot(along(0), along(1))
