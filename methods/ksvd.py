"""K-SVD: every patch is a sum of few atoms of a dictionary that is learned from the noisy image itself.

Elad, Aharon, "Image denoising via sparse and redundant representations over learned dictionaries", IEEE TIP 15(12),
2006: gray; parameters are those of the authors' code.
Mairal, Elad, Sapiro, "Sparse representation for color image restoration", IEEE TIP 17(1), 2008: colour.
Lebrun, Leclaire, "An implementation and detailed analysis of the K-SVD image denoising algorithm", IPOL 2, 2012: what
colour here takes from a published program.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from bench.methods.sparse.dictionary import ksvd, overcomplete_dct
from bench.methods.sparse.patches import centre, coverage, from_image, random_patches, sum_of_estimates
from bench.methods.sparse.pursuit import omp
from scipy.special import chdtri
from torch import Tensor

from bench.restorer import Image, Observation, Restorer, Setting

__all__ = ["KSVD"]

SIZE = 8  # side of a gray patch in pixels
GAIN = 1.15  # C, gray: a patch is coded until the root mean square of its residual is C sigma
A = 1.5  # colour: what the mean of a channel weighs in products; gamma = (1 + a)^2 - 1 = 5.25
TAU = 0.93  # colour: C^2 m is this quantile of the chi-square distribution of m degrees of freedom
MOST_TRAINING = 65_000  # patches, drawn at random where there are more


class KSVD(Restorer):
    """K-SVD: 256 atoms, adapted to the noisy image; `ksvd:global` keeps those learned from clean images.

    Gray, as in Elad & Aharon's code: 8x8 patches without their means, 10 iterations of K-SVD from the over-complete
    DCT on, 5 up to sigma 5. Global: as in their paper learned from 100,000 patches of 6 atoms each, but in 60
    iterations; theirs had 180.

    Colour, as in Mairal, Elad & Sapiro: a patch is its three channels with their means, a product of two patches
    weighs the means more (`metric`), and 20 iterations start from the global dictionary. As in Lebrun & Leclaire's
    program: C by `TAU`, the weighted norm in the stopping test, the plain one when atoms are updated, 5x5 patches up
    to sigma 20 and 7x7 above. Neither's: atoms are updated by one step towards the best (`exact` of
    `methods.sparse.dictionary.ksvd`), since the cost of the best grows with the square of a patch's values; the
    weight of the noisy image in the answer is that of gray.

    Without weights the start is the over-complete DCT, in colour of each channel.

    sigma 0: the image as it is. An image smaller than a patch is extended by reflection. One that is constant stays
    so, except with the global colour dictionary: there means are coded too, to within the noise like all else, and
    without any noise a pixel can be off by 1.7 sigma. Values that are not finite: ValueError.
    """

    name = "ksvd"
    tasks = {"denoise"}
    version = "1, seed 0"
    variants = ("global",)

    def prepare(self, setting: Setting, device: str) -> None:
        self.D = start(patch_size(float(setting.level), setting.channels), setting.channels)
        if self.weights is not None:
            from safetensors.numpy import load_file

            self.D = load_file(self.weights.path)["D"]
        cross = np.tile(np.eye(16, dtype=np.float32)[..., None], setting.channels)
        self.restore(Observation(0.5 + cross / 2, "denoise", sigma=25.0))  # compiles

    def n_params(self) -> int:
        return 0 if self.weights is None else int(self.D.size)

    def restore(self, seen: Observation) -> Image:
        H, W, channels = seen.image.shape
        size = round((len(self.D) / channels) ** 0.5)
        y = from_image(seen.image, size)
        if seen.sigma == 0:
            return seen.image.copy()
        error = tolerated(size, channels, seen.sigma / 255)  # for pixels in [0, 1]
        D, T = self.D.astype(np.float32), metric(channels)
        if not self.variant:
            Y = centred(random_patches(y, size, MOST_TRAINING), channels)[0].numpy()
            n_iters = 20 if channels == 3 else 10 if seen.sigma > 5 else 5
            D = ksvd(Y, D, error=error, n_iters=n_iters, max_atoms=len(D) // 2, metric=T, exact=channels == 1)

        def estimate(patches: Tensor) -> Tensor:
            patches, mu = centred(patches, channels)
            codes = omp(T(patches.numpy()), T(D.T).T, error=error, max_atoms=len(D) // 2)
            return torch.from_numpy(codes.estimates(D)) + mu

        # argmin_x lambda ||x - y||^2 + sum_i ||x_i - D a_i||^2 for lambda = 1 / (0.034 sigma)
        weight = 0.034 * seen.sigma
        n = coverage(*y.shape[2:], size, like=y)
        x_hat = (y + weight * sum_of_estimates(y, size, estimate)) / (1 + weight * n)
        return np.ascontiguousarray(x_hat[0, :, :H, :W].permute(1, 2, 0).numpy())


def patch_size(sigma: float, channels: int) -> int:
    return SIZE if channels == 1 else 5 if sigma <= 20 else 7


def tolerated(size: int, channels: int, s: float) -> float:
    """The squared norm, in `metric`, to which a patch is coded at noise of standard deviation s."""
    m = channels * size**2
    return s**2 * (m * GAIN**2 if channels == 1 else chdtri(m, 1 - TAU))


def centred(Y: Tensor, channels: int) -> tuple[Tensor, Tensor | float]:
    """Patches (n, m) as they are coded, and what has been taken from them: in gray their means."""
    return centre(Y) if channels == 1 else (Y, 0.0)


def metric(channels: int) -> Callable[[np.ndarray], np.ndarray]:
    """The map T of patches, rows (n, m): y and x are compared as T y and T x. In gray the identity.

    In colour it multiplies the mean of each channel by 1 + a: T = I + (a / n) K for n pixels a channel and K, which
    adds up each channel, so that <T y, T x> = y' x + (gamma / n) y' K x (Mairal, Elad & Sapiro, Sec. III-B).
    """

    def weigh_means(Y: np.ndarray) -> np.ndarray:
        parts = Y.reshape(len(Y), channels, -1)
        return (parts + A * parts.mean(2, keepdims=True)).reshape(Y.shape).astype(Y.dtype)

    return weigh_means if channels == 3 else lambda Y: Y


def start(size: int, channels: int) -> np.ndarray:
    """The over-complete DCT, (channels size^2, p): p is 256, in colour 243."""
    return overcomplete_dct(size, 16 if channels == 1 else 9, channels)
