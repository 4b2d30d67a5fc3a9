"""SSIM with the window of AR-CNN's papers, and at five scales."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.measure.metrics.planes import Image, Plane, gaussian, halved, inside

__all__ = ["ms_ssim", "ssim_8x8"]

UNIFORM = np.full(8, 1 / 8)
GAUSSIAN = gaussian(11, 1.5)
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


class Terms(NamedTuple):
    """ssim: the mean of l cs over all windows; cs: that of contrast and structure alone."""

    ssim: float
    cs: float


def ssim_8x8(x: Image, y: Image, *, peak: float) -> float:
    """SSIM over windows of 8 x 8 equal weights, K1 = 0.01, K2 = 0.03, population covariance, inside the picture.

    The window of Wang & Bovik's first index, which AR-CNN's papers use: all eight figures of the row "JPEG" of NSR's
    Table 6 agree with it to the last digit. In colour the mean over channels; nan for less than 8 pixels a side.
    Source: Wang et al., IEEE TIP 13(4), 2004, which names the artefacts of this window.
    """
    return _of_channels(lambda a, b: _terms(a, b, UNIFORM, peak).ssim, x, y, 8)


def ms_ssim(x: Image, y: Image, *, peak: float) -> float:
    """SSIM at five scales, l_5^0.1333 times the product of cs_j^w_j, w = 0.0448, 0.2856, 0.3001, 0.2363, 0.1333.

    Each scale is the mean of 2 x 2 pixels of the one before, its border mirrored. 11 x 11 Gaussian window of 1.5;
    the mean over windows is taken before the powers, and one below 0 counts as 0. In colour the mean over channels;
    nan for less than 161 pixels a side, whose last scale holds no window.
    Source: Wang, Simoncelli, Bovik, Asilomar 2003, Eq. 7.
    """
    return _of_channels(lambda a, b: _ms_ssim(a, b, peak), x, y, 161)


def _ms_ssim(x: Plane, y: Plane, peak: float) -> float:
    product = 1.0
    for scale, weight in enumerate(MS_WEIGHTS, start=1):
        terms = _terms(x, y, GAUSSIAN, peak)
        is_last = scale == len(MS_WEIGHTS)
        product *= max(0.0, terms.ssim if is_last else terms.cs) ** weight
        x, y = halved(x, border="symmetric"), halved(y, border="symmetric")
    return product


def _of_channels(metric: Callable[[Plane, Plane], float], x: Image, y: Image, smallest: int) -> float:
    if min(x.shape[:2]) < smallest:
        return math.nan
    return float(np.mean([metric(x[..., c], y[..., c]) for c in range(x.shape[2])]))


def _terms(x: Plane, y: Plane, window: NDArray[np.float64], peak: float) -> Terms:
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mu_x, mu_y = inside(x, window), inside(y, window)
    variances = inside(x * x, window) - mu_x**2 + inside(y * y, window) - mu_y**2
    covariance = inside(x * y, window) - mu_x * mu_y
    cs = np.minimum(1, (2 * covariance + c2) / (variances + c2))  # rounding alone takes it above
    l = (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)  # noqa: E741  the papers' letter
    return Terms(float(np.mean(l * cs)), float(np.mean(cs)))
