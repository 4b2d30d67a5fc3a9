"""NCSR: the code of a patch, in the basis of its kind, is shrunk towards the codes of the patches like it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bench.methods.sparse.centralised import centralised, similarities
from bench.methods.sparse.matching import similar_blocks
from bench.methods.sparse.subdictionaries import learned
from numpy.typing import NDArray

from bench.restorer import Image, Observation, Restorer, Setting

__all__ = ["NCSR"]

Array = NDArray[np.float32]

DELTA = np.float32(0.02)  # delta: the share of what was removed that each iteration begins with again
NEAREST = 30  # pixels along each axis: windows of 61 x 61
INNER = 3  # J: iterations with the same bases and the same similar patches


@dataclass(frozen=True)
class Parameters:
    """What the noise level decides.

    size      side of a patch in pixels
    similar   patches that a code is drawn to, itself among them
    outer     L: how often bases are learned and patches are matched
    c         of the thresholds
    lam       of the noise that is estimated to be left, the share that is taken for it
    h         of the weights of similar patches, at least
    smallest  patches of a cluster, at least
    blur      standard deviation in pixels of the Gaussian that takes away high frequencies
    """

    size: int
    similar: int
    outer: int
    c: float
    lam: float
    h: float
    smallest: int
    blur: float


def parameters(sigma: float) -> Parameters:
    """Those of the authors for this sigma, on the 0-255 scale."""
    if sigma <= 10:
        return Parameters(6, 13, 3, 0.56, 0.22, 75, 240, 1.7)
    if sigma <= 15:
        return Parameters(6, 13, 3, 0.59, 0.22, 75, 240, 1.8)
    if sigma <= 30:
        return Parameters(7, 16, 3, 0.64, 0.23, 80, 250, 2.0)
    if sigma <= 50:
        return Parameters(9, 18, 4, 0.64, 0.26, 90, 300, 2.4)
    return Parameters(8, 20, 4, 0.64, 0.26, 95, 300, 2.4)


class NCSR(Restorer):
    """NCSR of Dong, Zhang, Shi and Li, IEEE TIP 22(4), 2013, for gray images.

    Bases are learned and patches are matched on the last estimate x, at first the noisy image y. Then, INNER times,

        x <- x + delta (y - x)

    and each patch of x is coded in its basis. Its code is shrunk towards the mean of the codes of the patches like it
    (`sparse.centralised`), and the mean of all estimates of a pixel is the next x. The noise s of x is first sigma,
    then lambda sqrt(|sigma^2 - mean((x - y)^2)|).

    What the paper leaves open (the numbers in `parameters`, the matching, the clusters) is as we were told of the
    authors' program, which we have not read. Three things are ours. Bases are of principal components alone, where
    the program also sets negative covariances to 1e-4: on pictures of BSD400 that changed no figure by 0.01 dB.
    Of pictures beyond 560 x 560 pixels a part of the patches is learned from. Small pictures have fewer clusters.

    sigma 0: the image as it is. An image smaller than a patch is extended by mirroring.
    """

    name = "ncsr"
    tasks = {"denoise"}

    def why_not(self, setting: Setting) -> str | None:
        return super().why_not(setting) or ("ncsr is for gray images" if setting.channels != 1 else None)

    def prepare(self, setting: Setting, device: str) -> None:
        tiny = 8 * np.eye(12, dtype=np.float32)[..., None]  # not flat
        self.restore(Observation(tiny, "denoise", sigma=5.0))  # compiles

    def restore(self, seen: Observation) -> Image:
        if seen.sigma == 0:  # there is nothing to remove
            return seen.image.copy()
        x_hat = denoised(255 * seen.image[..., 0], seen.sigma, parameters(seen.sigma))
        return (x_hat / 255)[..., None]


def denoised(y: Array, sigma: float, level: Parameters) -> Array:
    """The estimate (H, W) of y, on the 0-255 scale."""
    H, W = y.shape
    y = np.pad(y, [(0, max(0, level.size - n)) for n in (H, W)], mode="symmetric")
    x, s = y, sigma
    for k in range(level.outer):
        dictionaries = learned(x, level.size, s, level.blur, level.smallest)
        similar = similar_blocks(x, level.size, 1, NEAREST, level.similar)
        weights = similarities(x, *similar, level.size, max(12 * s, level.h))
        for j in range(INNER):
            x = x + DELTA * (y - x)
            if k + j > 0:
                s = level.lam * float(np.sqrt(abs(sigma**2 - np.mean((x - y) ** 2))))
            x = centralised(x, *similar, weights, dictionaries, s, level.c)
    return x[:H, :W]
