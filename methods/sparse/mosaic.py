"""Coding the patches of a Bayer mosaic: which of their values are measured depends only on where their corner is.

So there are four masks, and what a code needs of the dictionary (its atoms where they are seen, their Gram matrix) is
computed four times for an image, not once for every patch. A mosaic is held as an image (1, 3, H, W) that is 0 where
a colour was not measured.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from bench.methods.sparse.lasso import lasso_path
from bench.methods.sparse.patches import coverage, sum_of_estimates
from torch import Tensor

__all__ = ["average_of_codes", "code", "measured_mean"]


def average_of_codes(y: Tensor, M: Tensor, D: np.ndarray, size: int, error: float) -> Tensor:
    """The image (1, 3, H, W) that the lasso codes of the mosaic's patches in D give, averaged where they overlap.

    y      mosaic (1, 3, H, W), H, W >= size
    M      1 where it was measured, else 0; of the same shape
    D      (m, p)
    error  squared, for each value measured: what a patch's code may leave
    """
    total = torch.zeros_like(y)
    for i, j in np.ndindex(2, 2):
        mask = M[0, :, i:, j:][:, :size, :size].flatten().numpy()
        if len(mask) == len(D):  # else the image is no larger than a patch, and none begins there
            estimate = partial(code, mask=mask, D=D, error=error)
            total[:, :, i:, j:] += sum_of_estimates(y[:, :, i:, j:], size, estimate, stride=2)
    return total / coverage(*y.shape[2:], size, like=y)


def code(patches: Tensor, mask: np.ndarray, D: np.ndarray, error: float) -> Tensor:
    """Estimates (n, m) of patches that are measured where `mask` (m,) is 1: argmin ||a||_1 within `error`.

    A mosaic does not tell the mean of a channel over a patch, only that of the values measured. Patches and, for
    this mask, atoms lose that, and so the codes and the channels' levels that minimise the squared error together
    are found.
    """
    Y = patches.numpy()
    mu = measured_mean(Y, mask)
    atoms = D.T - measured_mean(D.T, mask)
    codes = lasso_path((Y - mu) * mask, (atoms * mask).T, error=error * mask.sum())
    return torch.from_numpy(codes.estimates(atoms.T) + mu)


def measured_mean(Y: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean of each channel over its measured values, at all values of the channel: (n, m).

    Y     (n, m), three channels one after another
    mask  (m,), 1 where a value is measured, else 0; at least one of each channel
    """
    n, m = Y.shape
    means = (Y * mask).reshape(n, 3, -1).sum(2) / mask.reshape(3, -1).sum(1)
    return np.repeat(means, m // 3, axis=1)
