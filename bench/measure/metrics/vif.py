"""VIF in the domain of pixels: how much of the information that an eye takes from the clean picture is left."""

from __future__ import annotations

import math

import numpy as np

from bench.measure.metrics.planes import Image, gaussian, gray, inside

__all__ = ["vif"]

SIZES = (17, 9, 5, 3)
"""of the window at each scale; its standard deviation is a fifth"""
NOISE_VARIANCE = 2.0
"""sigma_n^2 of the eye, on the scale of 0-255"""
TINY = 1e-10
SMALLEST = 41


def vif(x: Image, y: Image, *, peak: float) -> float:
    """Visual information fidelity of the gray picture: 1 for equal pictures, 0 where nothing is left.

        VIF = sum log(1 + g^2 s_y^2 / (s_v^2 + s_n^2)) / sum log(1 + s_y^2 / s_n^2),
        g = cov(x, y) / s_y^2,   s_v^2 = s_x^2 - g cov(x, y)

    over all windows of four scales, the variances being those of Gaussian windows of 17, 9, 5 and 3 pixels; s_n^2 = 2
    on the scale of 0-255. Each scale is the one before smoothed by its window and halved. It may be above 1 where
    contrast is enhanced. This is the authors' `vifp`, in the domain of pixels, which libraries compute by the name of
    VIF, and not the wavelets' of the paper. nan for less than 41 pixels a side, and where the clean picture is flat.
    Source: Sheikh & Bovik, IEEE TIP 15(2), 2006.
    """
    if min(x.shape[:2]) < SMALLEST:
        return math.nan
    x_j, y_j = (gray(image) * (255 / peak) for image in (x, y))
    kept = there = 0.0
    for scale, size in enumerate(SIZES):
        window = gaussian(size, size / 5)
        if scale:
            x_j, y_j = (inside(plane, window)[::2, ::2] for plane in (x_j, y_j))
        mu_x, mu_y = inside(x_j, window), inside(y_j, window)
        s_xx = np.maximum(inside(x_j * x_j, window) - mu_x**2, 0)
        s_yy = np.maximum(inside(y_j * y_j, window) - mu_y**2, 0)
        s_xy = inside(x_j * y_j, window) - mu_x * mu_y
        is_seen = (s_yy >= TINY) & (s_xx >= TINY) & (s_xy >= 0)  # elsewhere nothing of y is in x
        g = np.where(is_seen, s_xy / (s_yy + TINY), 0)
        s_vv = np.maximum(s_xx - g * s_xy, TINY)
        kept += float(np.log(1 + g**2 * s_yy / (s_vv + NOISE_VARIANCE)).sum())
        there += float(np.log(1 + s_yy / NOISE_VARIANCE).sum())
    return kept / there if there > TINY else math.nan
