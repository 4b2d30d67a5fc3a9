"""BM3D: similar blocks stacked and filtered together, twice.

Written from Dabov, Foi, Katkovnik, Egiazarian, "Image Denoising by Sparse 3-D Transform-Domain Collaborative
Filtering", IEEE TIP 16(8), 2007. `bm3d:package` is the authors' own package of 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from bench.methods.sparse.collaborative import Step, bior15, dct, filtered
from bench.methods.sparse.opponent import FROM_OPPONENT, TO_OPPONENT

from bench.restorer import Image, Observation, Restorer, RestorerError, Setting

LARGEST_NORMAL = 40
"""the highest sigma, of 255, that the normal profile is for"""

BORDER = 2
"""Pixels that are mirrored at each side, so that the outermost ones lie in more blocks: 0.01 to 0.02 dB on set12.
More would not do, for blocks begin to match their own mirror images."""

SMALLEST = 16  # pixels: bm3d 4.0.3 refuses images under its 8x8 block and crashes the process at exactly 8x8


class BM3D(Restorer):
    """BM3D from the paper of 2007, gray and colour; `:lc` is the fast profile, `:high` the thorough one.

    Parameters are those of the authors' MATLAB program 2.00, from which the published tables are: `np` up to sigma 40
    and `vn`, after Hou et al., IEEE TIP 20(1), 2011, above. In colour, blocks are matched in luma (C-BM3D, Sec. V),
    and it is the noise of luma that chooses: `np` up to 69 then.
    """

    name = "bm3d"
    tasks = {"denoise"}
    variants = ("lc", "high", "package")
    requires_of = {"package": {"bm3d": "non-commercial use only (Tampere University)"}}
    devices = ("cpu", "cuda")

    filtered: Callable[..., np.ndarray] = staticmethod(filtered)

    def prepare(self, setting: Setting, device: str) -> None:
        if device == "cpu":
            return
        if self.variant == "package":  # its time would stand under the other device's name
            raise RestorerError(f"bm3d:package computes on cpu, not on {device}")
        from bench.methods.sparse.batched import filtered as in_batches

        self.filtered = partial(in_batches, device=device)

    def restore(self, seen: Observation) -> Image:
        if seen.sigma == 0:  # there is nothing to remove
            return seen.image.copy()
        if self.variant == "package":
            return package(seen)
        y, sigma = 255 * seen.image.astype(np.float64), np.full(seen.image.shape[2], seen.sigma)
        if len(sigma) == 3:
            y, sigma = y @ TO_OPPONENT.T, sigma / np.sqrt(3)
        x_hat = self.denoised(y, sigma, *steps(sigma[0], self.variant))
        if len(sigma) == 3:
            x_hat = x_hat @ FROM_OPPONENT.T
        return (x_hat / 255).astype(np.float32)

    def denoised(self, y: np.ndarray, sigma: np.ndarray, first: Step, second: Step) -> np.ndarray:
        """The estimate of both steps for y (H, W, C). Pictures smaller than a block are mirrored."""
        H, W, _ = y.shape
        size = max(len(first.T), len(second.T))
        around = [(BORDER, max(BORDER, size - n)) for n in (H, W)]
        y = np.pad(y, [*around, (0, 0)], mode="symmetric")
        channels, sigma = np.ascontiguousarray(np.moveaxis(y, 2, 0), np.float32), sigma.astype(np.float32)
        basic = self.filtered(channels, sigma, first)
        x_hat = self.filtered(channels, sigma, second, basic)
        return np.moveaxis(x_hat, 0, 2)[BORDER : BORDER + H, BORDER : BORDER + W]


def steps(sigma: float, profile: str = "") -> tuple[Step, Step]:
    """Hard thresholding and Wiener filtering.

    sigma    of the noise where blocks are matched, on the 0-255 scale: in colour that of luma, which is less
    profile  "" (`np`), "lc" or "high". Above LARGEST_NORMAL each has the thresholds of `vn` with its own steps and
             windows: with their own they fail there (the paper's Fig. 9)
    """
    is_normal = sigma <= LARGEST_NORMAL
    T = bior15(coarsest=2 if profile == "high" else 1)
    stack, tau, cut = (16, 3000, 2.7) if is_normal else (32, 25000, 2.8)
    N, tau_wiener = (8, 400) if is_normal else (11, 3500)
    if profile == "high":
        bands = np.repeat([1.0, 1.01, 1.07], [2, 2, 4])  # the higher a frequency, the more is cut off
        threshold = (2.5 if is_normal else cut) * np.outer(bands, bands)
        return Step(T, stack, 2, 39, tau, threshold, beta=2.5), Step(dct(N), 32, 2, 39, tau_wiener, beta=1.5)
    if profile == "lc":
        return Step(T, 16, 6, 25, tau, cut), Step(dct(N), 16, 5, 25, tau_wiener)
    step, step_wiener = (3, 3) if is_normal else (4, 6)
    return Step(T, stack, step, 39, tau, cut), Step(dct(N), 32, step_wiener, 39, tau_wiener)


# --- the authors' package -----------------------------------------------------------------------------------


def package(seen: Observation) -> Image:
    """The package's answer: Makinen, Azzari, Foi, IEEE TIP 29, 2020, whose thresholds adapt to the noise."""
    height, width, channels = seen.image.shape
    missing = [(0, max(0, SMALLEST - n)) for n in (height, width)]
    y = np.pad(seen.image.astype(np.float64), [*missing, (0, 0)], mode="symmetric")
    s = seen.sigma / 255  # to the [0, 1] range of the image
    x_hat = _package_in_colour(y, s) if channels == 3 else _package_in_gray(y[..., 0], s)
    return x_hat[:height, :width].reshape(seen.image.shape).astype(np.float32)


def _package_in_gray(y: np.ndarray, s: float) -> np.ndarray:
    from bm3d import bm3d

    return bm3d(y, s, package_profile(255 * s))


def _package_in_colour(y: np.ndarray, s: float) -> np.ndarray:
    from bm3d import bm3d_rgb

    # bm3d_rgb divides by the range of each opponent channel, which is 0 in a picture of one colour, or a gray one
    R, G, B = np.moveaxis(y, 2, 0)
    if min(np.ptp(R + G + B), np.ptp(R - B), np.ptp(R - 2 * G + B)) < 1e-6:
        return np.stack([_package_in_gray(channel, s) for channel in (R, G, B)], axis=-1)
    return bm3d_rgb(y, s, package_profile(255 * s))


def package_profile(sigma: float):
    """`np` or `vn` for this sigma (0-255 scale), on one thread: with more, sums vary in their last digits."""
    from bm3d import BM3DProfile, BM3DProfileVN

    chosen = BM3DProfile() if sigma <= LARGEST_NORMAL else BM3DProfileVN()
    chosen.num_threads = 1
    return chosen
