"""Image quality: PSNR and SSIM, with every argument of the library's functions spelled out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError

__all__ = ["Quality", "load_libraries", "psnr_db", "ssim"]

SSIM_WINDOW = 11
STRIP_ROWS = 64


class Quality(NamedTuple):
    """PSNR in dB (inf for identical images, no others) and SSIM (nan for an image smaller than its window)."""

    psnr_db: float
    ssim: float


def psnr_db(x: NDArray[np.float64], y: NDArray[np.float64], *, peak: float) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(peak^2 / mean (x - y)^2), one mean over pixels and channels.

    x, y    float64 images of equal shape (H, W, C), on the scale of `peak`
    Answer  inf for identical images
    Raises DataError where there is no pixel to compare, and for any other that is not finite.
    """
    from skimage.metrics import peak_signal_noise_ratio

    if not x.size:
        raise DataError("no pixel is left to compare, so that there is no PSNR")
    if np.array_equal(x, y):
        return float("inf")  # scikit-image would warn of the division
    with np.errstate(all="ignore"):
        value = float(peak_signal_noise_ratio(y, x, data_range=peak))
    if not np.isfinite(value):
        raise DataError(f"the PSNR is {value} dB, of images that are not identical")
    return value


def ssim(x: NDArray[np.float64], y: NDArray[np.float64], *, peak: float) -> float:
    """Mean SSIM of float64 images of equal shape (H, W, C): per channel, then averaged.

    11 x 11 Gaussian window of standard deviation 1.5, population covariance, K1 = 0.01, K2 = 0.03, averaged over
    the windows that lie inside the image. nan for an image smaller than the window.
    Source: Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004, Sec. III-B, Eq. 13.
    """
    n_windows = x.shape[0] - SSIM_WINDOW + 1  # in a column
    if n_windows < 1 or x.shape[1] < SSIM_WINDOW:
        return float("nan")
    # Strips of rows that overlap by a window less one row have each window once; several fit on several cores.
    strips = [
        slice(top, min(top + STRIP_ROWS, n_windows) + SSIM_WINDOW - 1) for top in range(0, n_windows, STRIP_ROWS)
    ]
    each = map if len(strips) == 1 else _threads().map
    means = each(lambda rows: _ssim_of_strip(x[rows], y[rows], peak), strips)
    n_in_strip = [rows.stop - rows.start - SSIM_WINDOW + 1 for rows in strips]
    return float(np.average(list(means), weights=n_in_strip))


def _ssim_of_strip(x: NDArray[np.float64], y: NDArray[np.float64], peak: float) -> float:
    from skimage.metrics import structural_similarity

    value = structural_similarity(
        y,
        x,
        win_size=SSIM_WINDOW,  # leaves out a border of 5, which is where scikit-image cuts a Gaussian of 1.5
        data_range=peak,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        K1=0.01,
        K2=0.03,
        gradient=False,
        full=False,
    )
    return float(value)


@cache
def _threads() -> ThreadPoolExecutor:
    from bench.measure.environment import n_cores

    return ThreadPoolExecutor(n_cores())


def load_libraries() -> None:
    """Import what scoring needs, which would otherwise be paid for by the first image."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity  # noqa: F401  (it imports on access)
