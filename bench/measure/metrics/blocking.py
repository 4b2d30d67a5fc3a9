"""PSNR-B: PSNR that counts the steps at the borders of JPEG's blocks a second time."""

from __future__ import annotations

import math

import numpy as np

from bench.measure.metrics.planes import Image, Plane

__all__ = ["psnr_b_db"]

BLOCK = 8


def psnr_b_db(x: Image, y: Image, *, peak: float) -> float:
    """10 log10(peak^2 / (MSE + BEF)) in dB; inf for what equals y and has no more steps at blocks than elsewhere.

        BEF = eta (D_B - D_B^C) if D_B > D_B^C, else 0;   eta = log2 8 / log2 min(H, W)

    D_B is the mean squared step in x between neighbours that lie in two blocks of 8 x 8, D_B^C that between those of
    one block; the blocks begin in the corner. There are N_HB = H (W / 8 - 1) of the former along rows and its like
    along columns, also where W / 8 is no whole number. So all eight figures of JPEG agree that AR-CNN's and FBCNN's
    tables print; the count H W / 8 - 1 of some libraries gives up to 0.1 dB more.
    In colour MSE and BEF are means over the channels. nan for a picture of less than 16 pixels a side.
    Source: Yim & Bovik, IEEE TIP 20(1), 2011.
    """
    if min(x.shape[:2]) < 2 * BLOCK:
        return math.nan
    bef = np.mean([blocking_effect(x[..., c]) for c in range(x.shape[2])])
    mse_b = float(np.mean(np.square(x - y)) + bef)
    return 10 * math.log10(peak**2 / mse_b) if mse_b else math.inf


def blocking_effect(x: Plane) -> float:
    """BEF of one channel (H, W), both of at least 16, in squared units of x."""
    height, width = x.shape
    columns, rows = np.square(np.diff(x, axis=1)), np.square(np.diff(x, axis=0))
    at_blocks = columns[:, BLOCK - 1 :: BLOCK].sum() + rows[BLOCK - 1 :: BLOCK].sum()
    n_at_blocks = height * (width / BLOCK - 1) + width * (height / BLOCK - 1)
    d_b = at_blocks / n_at_blocks
    d_bc = (columns.sum() + rows.sum() - at_blocks) / (columns.size + rows.size - n_at_blocks)
    eta = math.log2(BLOCK) / math.log2(min(height, width))
    return float(eta * max(0, d_b - d_bc))
