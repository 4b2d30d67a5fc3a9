"""K-SVD denoising: every patch is a few atoms of a dictionary that is learned from the noisy image itself.

Elad, Aharon, "Image denoising via sparse and redundant representations over learned dictionaries", IEEE TIP 15(12),
2006. Parameters are those of the authors' code.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from bench.restorer import Image, Observation, Restorer, Setting
from methods.sparse.dictionary import ksvd, overcomplete_dct
from methods.sparse.patches import centre, coverage, extract, reflect
from methods.sparse.pursuit import omp

__all__ = ["KSVD"]

SIZE = 8  # side of a patch in pixels
C = 1.15  # a patch is coded until its residual is C sigma per pixel
MOST_TRAINING = 65_000  # patches, drawn at random where there are more
BAND = 2**16  # patches coded at a time, which bounds the memory


class KSVD(Restorer):
    """K-SVD with 256 atoms for 8x8 patches, learned from the noisy image (seed 0)."""

    name = "ksvd"
    tasks = {"denoise"}

    def prepare(self, setting: Setting, device: str) -> None:
        self.restore(Observation(np.eye(16, dtype=np.float32)[..., None], "denoise", sigma=25.0))  # compiles

    def restore(self, seen: Observation) -> Image:
        y, s = seen.image, seen.sigma / 255
        if s == 0:
            return y.copy()
        x = torch.from_numpy(np.ascontiguousarray(y.transpose(2, 0, 1)))[None]
        H, W = x.shape[2:]
        x = reflect(x, 0, max(0, SIZE - H), max(0, SIZE - W))
        error = SIZE**2 * (C * s) ** 2
        Y = centre(extract(x, SIZE).flatten(0, 2))[0].numpy()
        rng = np.random.default_rng(0)
        if len(Y) > MOST_TRAINING:
            Y = Y[rng.choice(len(Y), MOST_TRAINING, replace=False)]
        D = ksvd(Y, overcomplete_dct(SIZE, 16), error=error, n_iters=10 if seen.sigma > 5 else 5, max_atoms=SIZE**2 // 2)
        total = torch.zeros_like(x)
        gh, gw = x.shape[2] - SIZE + 1, x.shape[3] - SIZE + 1
        rows = max(1, BAND // gw)
        for top in range(0, gh, rows):
            band = slice(top, min(top + rows, gh) + SIZE - 1)
            patches, mu = centre(extract(x[:, :, band], SIZE).flatten(0, 2))
            codes = omp(patches.numpy(), D, error=error, max_atoms=SIZE**2 // 2)
            estimates = torch.from_numpy(codes.estimates(D)) + mu
            total[:, :, band] += F.fold(estimates.T[None], total[:, :, band].shape[2:], SIZE)
        n = coverage(*x.shape[2:], SIZE, like=x)
        w = 0.034 * seen.sigma
        x_hat = (x + w * total) / (1 + w * n)
        return np.ascontiguousarray(x_hat[0, :, :H, :W].permute(1, 2, 0).numpy())
