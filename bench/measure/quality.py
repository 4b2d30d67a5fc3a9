"""Image quality: PSNR and SSIM, with every argument of the library's functions spelled out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Quality", "psnr_db", "ssim"]

SSIM_WINDOW = 11


class Quality(NamedTuple):
    """PSNR in dB (inf for identical images) and SSIM (nan where the image is smaller than its window)."""

    psnr_db: float
    ssim: float


def psnr_db(x: NDArray[np.float64], y: NDArray[np.float64], *, peak: float) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(peak^2 / mean (x - y)^2), one mean over pixels and channels.

    x, y  float64 images of equal shape (H, W, C), on the scale of `peak`
    """
    from skimage.metrics import peak_signal_noise_ratio

    if np.array_equal(x, y):
        return float("inf")  # scikit-image would warn of the division
    return float(peak_signal_noise_ratio(y, x, data_range=peak))


def ssim(x: NDArray[np.float64], y: NDArray[np.float64], *, peak: float) -> float:
    """Mean SSIM of float64 images of equal shape (H, W, C): per channel, then averaged.

    11 x 11 Gaussian window of standard deviation 1.5, population covariance, K1 = 0.01, K2 = 0.03, averaged over
    the windows that lie inside the image. nan for an image smaller than the window.
    Source: Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004, Sec. III-B, Eq. 13.
    """
    from skimage.metrics import structural_similarity

    if min(x.shape[:2]) < SSIM_WINDOW:
        return float("nan")
    value = structural_similarity(
        y,
        x,
        data_range=peak,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        truncate=3.5,  # radius int(3.5 * 1.5 + 0.5) = 5: the 11 x 11 window; the same border of 5 is left out
        use_sample_covariance=False,
        K1=0.01,
        K2=0.03,
        gradient=False,
        full=False,
    )
    return float(value)
