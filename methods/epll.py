"""EPLL: an image all of whose patches are likely under a mixture of Gaussians that was learned from clean patches."""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.mixture import Mixture, average_of_estimates, unpack
from bench.methods.sparse.patches import from_image

from bench.restorer import Image, Observation, Restorer, Setting

SIZE = 8  # side of a patch in pixels
BETAS = (1, 4, 8, 16, 32)  # / sigma^2


class EPLL(Restorer):
    """EPLL of Zoran and Weiss, ICCV 2011, "From Learning Models of Natural Image Patches to Whole Image Restoration".

        min_x  lambda / 2 ||x - y||^2 - sum_i log p(P_i x)        lambda = 64 / sigma^2

    over all overlapping 8x8 patches P_i x, by half quadratic splitting (Sec. 3.2): for beta = 1, 4, 8, 16, 32 times
    1 / sigma^2

        z_i = the most likely patch, if P_i x had noise of variance 1 / beta
        x   = (lambda y + 64 beta (mean over the patches z_i of a pixel)) / (lambda + 64 beta)

    A patch keeps its mean, and goes through Wiener's filter for the one component under which it is most likely.

    Eq. 4 has sum_i P_i' z_i and sum_i P_i' P_i in place of 64 times the mean and 64. They are the same, except where
    fewer than 64 patches lie over a pixel: in seven rows and columns at each border. Eq. 4 leaves noise there, which
    costs House 0.8 dB at sigma 25.

    The mixture is ours. It has 200 components as the authors' has, but was learned on bsd400, not on their patches.

    Without weights there is one Gaussian, `one_gaussian`.

    Gray alone, as the paper. sigma 0: the image as it is. An image smaller than a patch is extended by reflection.
    Values that are not finite: ValueError.
    """

    name = "epll"
    tasks = {"denoise"}
    needs_weights = True

    def why_not(self, setting: Setting) -> str | None:
        return super().why_not(setting) or ("epll is for gray images" if setting.channels != 1 else None)

    def prepare(self, setting: Setting, device: str) -> None:
        if self.weights is None:
            self.mixture = Mixture(*one_gaussian(SIZE))
        else:
            from safetensors.numpy import load_file

            learned = load_file(self.weights.path)
            self.mixture = Mixture(learned["priors"], unpack(learned["covariances"]))
        self.restore(Observation(np.eye(12, dtype=np.float32)[..., None], "denoise", sigma=25.0))  # compiles

    def n_params(self) -> int:
        n, d = self.mixture.values.shape
        return n + n * d * (d + 1) // 2

    def restore(self, seen: Observation) -> Image:
        H, W, _ = seen.image.shape
        y = x = from_image(seen.image, SIZE)[0, 0].numpy()
        if seen.sigma == 0:  # there is nothing to remove
            return seen.image.copy()
        for beta in BETAS:  # times sigma^2
            variance = (seen.sigma / 255) ** 2 / beta
            z = average_of_estimates(x, SIZE, self.mixture.under_noise(variance))
            x = (y + beta * z) / (1 + beta)
        return x[:H, :W, None].copy()


def one_gaussian(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A mixture of one component, for pixels that deviate by 0.2 and correlate by 0.95 with each next one."""
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    along = 0.95**distance
    covariance = 0.2**2 * np.kron(along, along)
    covariance -= covariance.mean(0)
    covariance -= covariance.mean(1, keepdims=True)
    return np.ones(1, np.float32), covariance[None].astype(np.float32)
