"""NL-Ridge: each patch is estimated by the best linear combination of the patches like it, twice."""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.opponent import FROM_OPPONENT, TO_OPPONENT
from bench.methods.sparse.ridge import combined

from bench.restorer import Image, Observation, Restorer, Setting

STEP = 4  # pixels between reference patches
NEAREST = 18  # pixels along each axis: windows of 37 x 37


class NLRidge(Restorer):
    """NL-Ridge of Herbreteau and Kervrann, ICIP 2022, in the affine case of SIAM J. Imaging Sci. 18(1), 2025.

    1. The patches like a reference patch are combined by the weights that Stein's unbiased estimate of the error
       finds best. All estimates of a pixel are averaged: the pilot.
    2. Patches are matched in the pilot, and the noisy ones combined by the weights that would be best if the pilot
       were the clean image: ridge regressions.

    Written from the papers' equations, which `sparse.ridge` gives, not from the authors' program: that is under the
    AGPL. Windows, steps, and for sigma up to 15 sizes are those that its README prints for sigma 5. Sizes above are
    ICIP's as we remember its table; on set12 they give within 0.1 dB what that README prints.

    Colour is ours, for the papers' figures are gray: as BM3D's, in luma and two opponent colours. Patches are matched
    in luma, and each of the three has weights of its own.

    sigma 0: the image as it is. An image smaller than a patch is extended by mirroring.
    """

    name = "nl-ridge"
    tasks = {"denoise"}

    def prepare(self, setting: Setting, device: str) -> None:
        tiny = np.zeros((12, 12, setting.channels), np.float32)
        self.restore(Observation(tiny, "denoise", sigma=25.0))  # compiles

    def restore(self, seen: Observation) -> Image:
        if seen.sigma == 0:
            return seen.image.copy()
        H, W, channels = seen.image.shape
        first, second = sizes(seen.sigma)
        missing = [(0, max(0, first[0] - n, second[0] - n)) for n in (H, W)]
        y = np.pad(255 * seen.image, [*missing, (0, 0)], mode="symmetric")
        sigma = np.full(channels, seen.sigma)
        if channels == 3:
            y, sigma = y @ TO_OPPONENT.T, sigma / np.sqrt(3)
        y = np.ascontiguousarray(np.moveaxis(y, 2, 0), np.float32)
        pilot = combined(y, sigma, *first, STEP, NEAREST)
        x_hat = np.moveaxis(combined(y, sigma, *second, STEP, NEAREST, pilot), 0, 2)[:H, :W]
        if channels == 3:
            x_hat = x_hat @ FROM_OPPONENT.T
        return np.ascontiguousarray(x_hat / 255, np.float32)


def sizes(sigma: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Side of a patch and patches of a group, in the first and in the second step, for sigma on the 0-255 scale."""
    if sigma <= 15:
        return (7, 18), (7, 55)
    if sigma <= 35:
        return (9, 18), (9, 90)
    return (11, 20), (9, 120)
