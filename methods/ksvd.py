"""K-SVD: every patch is a sum of few atoms of a dictionary that is learned from the noisy image itself.

Elad, Aharon, "Image denoising via sparse and redundant representations over learned dictionaries", IEEE TIP 15(12),
2006. Parameters are those of the authors' code.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.restorer import Image, Observation, Restorer, Setting
from methods.sparse.dictionary import ksvd, overcomplete_dct
from methods.sparse.patches import centre, coverage, from_image, random_patches, sum_of_estimates
from methods.sparse.pursuit import omp

__all__ = ["KSVD"]

SIZE = 8  # side of a patch in pixels
COSINES = 16  # along each axis: the dictionary has as many atoms as their square
GAIN = 1.15  # C: a patch is coded until the root mean square of its residual is C sigma
MOST_ATOMS = SIZE**2 // 2
MOST_TRAINING = 65_000  # patches, drawn at random where there are more


class KSVD(Restorer):
    """K-SVD for gray images: 256 atoms for 8x8 patches, from the over-complete DCT on by 10 iterations of K-SVD.

    sigma 0: the image as it is. An image smaller than a patch is extended by reflection; one that is constant stays
    so. Values that are not finite: ValueError.
    """

    name = "ksvd"
    tasks = {"denoise"}
    version = "1, seed 0"

    def why_not(self, setting: Setting) -> str | None:
        if setting.task == "denoise" and setting.channels != 1:
            return "ksvd denoises gray images only"
        return super().why_not(setting)

    def prepare(self, setting: Setting, device: str) -> None:
        self.restore(Observation(np.eye(16, dtype=np.float32)[..., None], "denoise", sigma=25.0))  # compiles

    def restore(self, seen: Observation) -> Image:
        y = from_image(seen.image, SIZE)
        if seen.sigma == 0:
            return seen.image.copy()
        error = SIZE**2 * (GAIN * seen.sigma / 255) ** 2  # for pixels in [0, 1]
        D = self.dictionary(y, error, n_iters=10 if seen.sigma > 5 else 5)

        def estimate(patches: Tensor) -> Tensor:
            patches, mu = centre(patches)
            codes = omp(patches.numpy(), D, error=error, max_atoms=MOST_ATOMS)
            return torch.from_numpy(codes.estimates(D)) + mu

        # argmin_x lambda ||x - y||^2 + sum_i ||x_i - D a_i||^2 for lambda = 1 / (0.034 sigma)
        weight = 0.034 * seen.sigma
        n = coverage(*y.shape[2:], SIZE, like=y)
        x_hat = (y + weight * sum_of_estimates(y, SIZE, estimate)) / (1 + weight * n)
        H, W, _ = seen.image.shape
        return np.ascontiguousarray(x_hat[0, :, :H, :W].permute(1, 2, 0).numpy())

    def dictionary(self, y: Tensor, error: float, n_iters: int) -> np.ndarray:
        """D (m, p) for the image y (1, 1, H, W)."""
        Y = centre(random_patches(y, SIZE, MOST_TRAINING))[0].numpy()
        return ksvd(Y, overcomplete_dct(SIZE, COSINES), error=error, n_iters=n_iters, max_atoms=MOST_ATOMS)
