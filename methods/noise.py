"""How noisy an image is, from the image alone.

Liu, Tanaka, Okutomi, "Single-Image Noise Level Estimation for Blind Denoising", IEEE TIP 22(12), 2013: white noise
adds its variance to every eigenvalue of the covariance of patches, and patches without texture have none of their own
in the direction of the smallest one.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["estimate_sigma"]

SIZE = 7  # side of the patches
CONFIDENCE = 1 - 1e-6  # that a patch of noise alone passes for one without texture
SELECTIONS = 2  # of patches without texture, each with the noise level that the last one gave
BAND = 64  # rows of patches at a time


def estimate_sigma(image: NDArray[np.float32]) -> float:
    """Standard deviation of white Gaussian noise in `image` (H, W, C) in [0, 1]; the answer is on the 0-255 scale.

    The mean over channels. 0 for an image too small to tell: fewer patches of 7x7 than they have pixels.
    """
    return float(np.mean([255 * _sigma(channel) for channel in np.moveaxis(image.astype(np.float64), -1, 0)]))


def _sigma(x: NDArray[np.float64]) -> float:
    if min(x.shape) < SIZE:
        return 0.0
    strength = _texture_strength(x)
    weak = np.ones(strength.shape, bool)
    variance = 0.0
    for selection in range(SELECTIONS + 1):
        if selection > 0:
            weak &= strength < variance * _threshold()
        if weak.sum() < SIZE**2:
            break
        variance = _smallest_eigenvalue(x, weak)
    return float(np.sqrt(max(0.0, variance)))


def _texture_strength(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """xi = tr(C_p), Eq. 9: the sum of squared derivatives inside each patch, (H - 6, W - 6)."""
    across = ((x[:, 2:] - x[:, :-2]) / 2) ** 2
    down = ((x[2:] - x[:-2]) / 2) ** 2
    return _box(across, SIZE, SIZE - 2) + _box(down, SIZE - 2, SIZE)


def _box(x: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """Sums over all windows of rows x columns."""
    x = sliding_window_view(x, rows, axis=0).sum(-1)
    return sliding_window_view(x, columns, axis=1).sum(-1)


def _smallest_eigenvalue(x: NDArray[np.float64], chosen: NDArray[np.bool_]) -> float:
    """Of the covariance of the chosen patches, (H - 6, W - 6), about 0."""
    covariance = np.zeros((SIZE**2, SIZE**2))
    for top in range(0, len(chosen), BAND):
        some = chosen[top : top + BAND]
        patches = sliding_window_view(x[top : top + len(some) + SIZE - 1], (SIZE, SIZE))[some].reshape(-1, SIZE**2)
        covariance += patches.T @ patches
    return float(np.linalg.eigvalsh(covariance / (chosen.sum() - 1))[0])


@cache
def _threshold() -> float:
    """tau for noise of variance 1, Eq. 13: xi of a patch of noise is nearly a Gamma variable."""
    from scipy.special import gammaincinv

    derivative = np.array([-0.5, 0.0, 0.5])
    one = np.eye(SIZE)
    along = np.array([np.convolve(row, derivative, "valid") for row in one]).T
    D_h, D_v = np.kron(one, along), np.kron(along, one)
    DD = D_h.T @ D_h + D_v.T @ D_v
    # The rank of DD, where Eq. 13 has the N^2 pixels of a patch: its gradients have no more degrees of freedom.
    rank, trace = np.linalg.matrix_rank(DD), np.trace(DD)
    return float(gammaincinv(rank / 2, CONFIDENCE) * 2 * trace / rank)
