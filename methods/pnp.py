"""Plug and play: a denoiser is the prior of other problems."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

from bench.restorer import Denoiser, Image, Observation, RestorerError, WithDenoiser, downscaled

Array = NDArray[np.float64]


class PlugAndPlay(WithDenoiser):
    """Half-quadratic splitting around any denoiser, e.g. `pnp:ffdnet`: deblurring, inpainting, super-resolution.

    In turns, for k = 1 ... K, with noise of deviation sigma in y = A x:

        x_k = argmin |y - A x|^2 + alpha_k |x - z_(k-1)|^2,   alpha_k = lambda sigma^2 / sigma_k^2
        z_k = denoise(x_k, sigma_k)

    sigma_k falls from 49 to the level of the noise, evenly in its logarithm. Each turn shows the denoiser the picture
    turned otherwise. Zhang et al., CVPR 2017; IEEE TPAMI 44(10), 2022 (DPIR), Eq. 6 and 7, Sec. 4.2, 5.1 and 5.2.

    steps    K, 2 or more; 0: 8 to deblur, 24 to fill in and to enlarge
    sigma_1  the first level, on the 0-255 scale
    weight   lambda
    """

    name = "pnp"
    tasks = {"deblur", "inpaint", "superres"}
    around = "denoise"

    def __init__(
        self, variant: str = "", weights: None = None, steps: int = 0, sigma_1: float = 49.0, weight: float = 0.23
    ) -> None:
        super().__init__(variant, weights)
        if steps != 0 and steps < 2:
            raise RestorerError(f"pnp: steps is {steps}; expected 2 or more, or 0 for the usual number.")
        if not (sigma_1 > 0 and weight > 0):
            raise RestorerError(f"pnp: sigma_1 is {sigma_1} and weight {weight}; expected numbers above 0.")
        self.steps, self.sigma_1, self.weight = steps, sigma_1, weight

    def restore(self, seen: Observation) -> Image:
        data = PROBLEMS[seen.task](seen)
        sigma = max(data.sigma, SMALLEST)
        last = max(sigma, data.last)
        sigmas = np.geomspace(max(self.sigma_1, last), last, self.steps or data.steps)
        z = data.start()
        for k, sigma_k in enumerate(sigmas):
            x = data.solve(z, self.weight * sigma**2 / sigma_k**2)
            z = _turned(self.denoiser, x, sigma_k, k).astype(np.float64)
        return z.astype(np.float32)


SMALLEST = 0.255
"""sigma of what has no noise, so that alpha is not 0: DPIR's program, main_dpir_deblur.py"""


def _turned(denoiser: Denoiser, x: Array, sigma: float, k: int) -> Image:
    """The denoiser's answer to x, shown in the k-th of eight views: k quarters of a turn, and then the mirror's."""
    flip = slice(None, None, -1 if k // 4 % 2 else 1)
    view = np.ascontiguousarray(np.rot90(x, k)[flip], np.float32)
    return np.rot90(denoiser(view, sigma)[flip], -k)


class Problem(ABC):
    """The data's part of one problem.

    sigma  of the noise, on the 0-255 scale
    steps  K, if it is not asked for otherwise
    last   the least sigma_K
    """

    sigma: float
    steps = 8
    last = 0.0

    @abstractmethod
    def start(self) -> Array:
        """z_0, (H, W, C)."""

    @abstractmethod
    def solve(self, z: Array, alpha: float) -> Array:
        """argmin over x of |y - A x|^2 + alpha |x - z|^2."""


class Deblurring(Problem):
    """A is the circular convolution with the kernel, which the Fourier transform makes diagonal."""

    def __init__(self, seen: Observation) -> None:
        self.sigma = seen.known["sigma"]
        self.y = seen.image.astype(np.float64)
        self.k = fft.rfft2(_centred(seen.known["kernel"], self.y.shape[:2]))[..., None]
        self.k_y = np.conj(self.k) * fft.rfft2(self.y, axes=(0, 1))

    def start(self) -> Array:
        return self.y

    def solve(self, z: Array, alpha: float) -> Array:
        there = (self.k_y + alpha * fft.rfft2(z, axes=(0, 1))) / (np.abs(self.k) ** 2 + alpha)
        return fft.irfft2(there, self.y.shape[:2], axes=(0, 1))


def _centred(kernel: Array, shape: tuple[int, int]) -> Array:
    """The kernel in an image of that shape, its middle at the origin. What does not fit wraps around."""
    image = np.zeros(shape)
    rows, columns = (np.arange(n) - n // 2 for n in kernel.shape)
    np.add.at(image, np.ix_(rows % shape[0], columns % shape[1]), kernel)
    return image


class Inpainting(Problem):
    """A keeps the pixels that were seen."""

    steps = 24  # holes are filled from their borders

    def __init__(self, seen: Observation) -> None:
        self.sigma = seen.known.get("sigma", 0.0)
        self.mask = np.broadcast_to(seen.mask, seen.image.shape).astype(np.float64)
        self.y = self.mask * seen.image

    def start(self) -> Array:
        """Each hole is a weighted mean of what was seen around it, within the least reach that sees enough."""
        x, is_open, reach = self.y.copy(), self.mask == 0, 1.0
        enough = self.mask.mean() / 4
        while is_open.any() and reach < 2 * max(x.shape):
            blur = (reach, reach, 0)
            weight = gaussian_filter(self.mask, blur)
            filled = is_open & (weight > enough)
            x[filled] = gaussian_filter(self.y, blur)[filled] / weight[filled]
            is_open &= ~filled
            reach *= 2
        return x

    def solve(self, z: Array, alpha: float) -> Array:
        return (self.y + alpha * z) / (self.mask + alpha)


class Enlarging(Problem):
    """A is bicubic reduction, of rows and then of columns: singular values of both make it diagonal."""

    steps = 24

    def __init__(self, seen: Observation) -> None:
        self.sigma, self.last = 0.0, float(seen.scale)
        self.first = seen.upscaled().astype(np.float64)
        self.y = np.moveaxis(seen.image.astype(np.float64), 2, 0)
        self.of_rows, self.of_columns = (_reduction(n, seen.scale) for n in self.first.shape[:2])

    def start(self) -> Array:
        return self.first

    def solve(self, z: Array, alpha: float) -> Array:
        (U, s, Vt), (P, t, Qt) = self.of_rows, self.of_columns
        z = np.moveaxis(z, 2, 0)
        gains = s[:, None] * t
        missing = U.T @ self.y @ P - gains * (Vt @ z @ Qt.T)  # of what was seen, in z
        x = z + Vt.T @ (missing * gains / (gains**2 + alpha)) @ Qt
        return np.moveaxis(x, 0, 2)


def _reduction(n: int, scale: int) -> tuple[Array, Array, Array]:
    """U, s and V' of the matrix (n / scale, n) that MATLAB's bicubic reduction is on rows or columns of n pixels."""
    matrix = downscaled(np.eye(n, dtype=np.float32)[:, None], scale)[:, 0]
    return np.linalg.svd(matrix.astype(np.float64), full_matrices=False)


PROBLEMS: dict[str, Callable[[Observation], Problem]] = {
    "deblur": Deblurring,
    "inpaint": Inpainting,
    "superres": Enlarging,
}
