"""PSNR of luma, as the papers on super-resolution and deblocking print it for colour pictures."""

from __future__ import annotations

import numpy as np

from bench.measure.metrics.planes import Image
from bench.measure.quality import psnr_db

__all__ = ["psnr_y_db"]


def psnr_y_db(x: Image, y: Image, *, peak: float) -> float:
    """PSNR in dB of Y = 65.481 R + 128.553 G + 24.966 B, R, G, B from 0 to 1, against a peak of 255.

    Y spans 219 of 255 levels (ITU-R BT.601, studio swing) and is not rounded, as MATLAB's rgb2ycbcr of doubles: equal
    errors in all colours give 20 log10(255 / 219) = 1.32 dB more than PSNR. Of a gray picture it is the PSNR.
    """
    if x.shape[2] == 1:
        return psnr_db(x, y, peak=peak)
    weights = np.array([65.481, 128.553, 24.966]) / peak
    x_y, y_y = ((image @ weights)[..., None] for image in (x, y))  # the 16 that Y begins with falls out
    return psnr_db(x_y, y_y, peak=255)
