"""WNNM: a group of similar patches is a matrix of low rank, of which small singular values are shrunk most.

Gu, Zhang, Zuo, Feng, "Weighted Nuclear Norm Minimization with Application to Image Denoising", CVPR 2014, and with
Xie and Meng, "Weighted Nuclear Norm Minimization and Its Applications to Low Level Vision", IJCV 121, 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bench.methods.sparse.compiled import in_parallel, inlined, kernel
from bench.methods.sparse.low_rank import padded, shrink
from bench.methods.sparse.matching import similar_blocks
from bench.methods.sparse.opponent import FROM_OPPONENT, TO_OPPONENT
from numpy.typing import NDArray

from bench.restorer import Image, Observation, Restorer, Setting

__all__ = ["WNNM"]

Array = NDArray[np.float32]
Groups = tuple[NDArray[np.int32], NDArray[np.int32]]

DELTA = 0.1  # delta: the share of what was removed that each iteration begins with again
C = 2 * np.sqrt(2)  # c of the weights
NEAREST = 30  # pixels along each axis: windows of 61 x 61
INNER = 2  # iterations with the same groups
FEWER = 10  # patches that groups have less each time that they are formed
ROWS = 4  # rows of groups that a thread shrinks before it asks for more


@dataclass(frozen=True)
class Parameters:
    """What the noise level decides.

    size        side of a patch in pixels
    similar     patches of a group, of which the first groups have FEWER less
    iterations  K
    lam         lambda: of the noise that is estimated to be left in a patch, the share that is taken for it
    """

    size: int
    similar: int
    iterations: int
    lam: float

    @property
    def step(self) -> int:
        """Pixels between the patches that groups are formed of."""
        return self.size // 2


def parameters(sigma: float) -> Parameters:
    """Those of the authors for this sigma, on the 0-255 scale."""
    if sigma <= 20:
        return Parameters(6, 70, 8, 0.56)
    if sigma <= 40:
        return Parameters(7, 90, 12, 0.56)
    if sigma <= 60:
        return Parameters(8, 120, 14, 0.58)
    return Parameters(9, 140, 14, 0.58)


class WNNM(Restorer):
    """WNNM from its papers, gray and colour.

    K times: x is the last estimate and DELTA of what it has removed. The patches of x that are like a patch, less
    their mean, are the columns of a matrix Y of n columns, and

        X = argmin_X 1/2 ||Y - X||_F^2 + s^2 sum_i w_i s_i(X) with w_i = c sqrt(n) / s_i(X)

    for the singular values s_i and the noise s of the patch. The mean of all estimates of a pixel is the next one.
    First s is sigma, afterwards lambda sqrt(|sigma^2 - mean((x - y)^2)|) over the patch.

    What the papers leave open (lambda, the windows, fewer patches with each matching, two iterations to one) is as
    WNNMDenoise.jl, MIT licence, tells of the authors' program. With c = 2 sqrt 2 the printed figures are met in this
    convention. Ours is the step between patches, half a patch instead of a pixel less: on two pictures of set12 that
    costs 0.01 and 0.02 dB at sigma 25, and takes less than half the time.

    Colour is ours too, for the papers are on gray: opponent colours as of C-BM3D, patches matched in luma.

    sigma 0: the image as it is. An image smaller than a patch is extended by mirroring.
    """

    name = "wnnm"
    tasks = {"denoise"}

    def prepare(self, setting: Setting, device: str) -> None:
        tiny = np.repeat(np.eye(24, dtype=np.float32)[..., None], setting.channels, axis=2)
        self.restore(Observation(tiny, "denoise", sigma=25.0))  # compiles

    def restore(self, seen: Observation) -> Image:
        if seen.sigma == 0:  # there is nothing to remove
            return seen.image.copy()
        y, sigma = 255 * seen.image.astype(np.float64), np.full(seen.image.shape[2], seen.sigma)
        if len(sigma) == 3:
            y, sigma = y @ TO_OPPONENT.T, sigma / np.sqrt(3)
        x_hat = denoised(y, sigma, parameters(seen.sigma))
        if len(sigma) == 3:
            x_hat = x_hat @ FROM_OPPONENT.T
        return (x_hat / 255).astype(np.float32)


def denoised(y: NDArray[np.float64], sigma: NDArray[np.float64], level: Parameters) -> Array:
    """The estimate (H, W, C) of y, whose channels have noise sigma (C,). Patches are matched in the first channel."""
    H, W, channels = y.shape
    missing = [(0, max(0, level.size - n)) for n in (H, W)]
    y = np.pad(y, [*missing, (0, 0)], mode="symmetric")
    noisy = np.ascontiguousarray(np.moveaxis(y, 2, 0), np.float32)
    x, similar = noisy, level.similar
    for k in range(level.iterations):
        x = x + np.float32(DELTA) * (noisy - x)
        if k % INNER == 0:
            similar -= FEWER
            groups = similar_blocks(x[0], level.size, level.step, NEAREST, similar)
        lam = level.lam if k else 0.0
        x = np.stack([low_rank(x[c], noisy[c], sigma[c], groups, level.size, lam) for c in range(channels)])
    return np.moveaxis(x, 0, 2)[:H, :W]


def low_rank(x: Array, noisy: Array, sigma: float, groups: Groups, size: int, lam: float) -> Array:
    """The mean of the estimates that the groups give of each pixel, (H, W).

    groups  of `similar_blocks`
    lam     0: the noise of x is sigma
    """
    places, counts = groups
    H, W = x.shape
    variance = np.float32(sigma**2)

    def band(a: int, b: int) -> tuple[int, Array]:
        first, last = places[a, 0, 0] // W, places[b - 1, 0, 0] // W
        top, bottom = max(0, first - NEAREST), min(H, last + NEAREST + size)
        sums = np.zeros((2, bottom - top, W), np.float32)
        add_groups(x, noisy, variance, places[a:b], counts[a:b], size, lam, top, sums[0], sums[1])
        return top, sums

    total = np.zeros((2, H, W), np.float32)
    for top, sums in in_parallel(band, len(places), ROWS):
        total[:, top : top + sums.shape[1]] += sums
    return total[0] / total[1]


@kernel
def add_groups(x, noisy, variance, places, counts, size, lam, top, total, count):
    """Shrink the groups at `places` and add them to the part of the image that begins at row `top`."""
    most, m = places.shape[2], size * size
    Y, X = np.zeros((most, padded(m)), np.float32), np.empty((most, padded(m)), np.float32)
    memory, mean = np.empty((2, m * padded(most)), np.float32), np.empty(padded(m), np.float32)
    for r in range(places.shape[0]):
        for c in range(places.shape[1]):
            n = counts[r, c]
            at, length = places[r, c, :n], m * padded(n)
            Y_T, X_T = memory[0, :length].reshape(m, padded(n)), memory[1, :length].reshape(m, padded(n))
            gather(x, at, size, Y, mean)
            transpose(Y, n, m, Y_T)
            left = variance
            if lam > 0:
                left = lam * lam * abs(variance - difference(x, noisy, at[0], size))
            weight = C * np.sqrt(n) * left
            if weight == 0:
                X[:n] = Y[:n]
            else:
                is_wide = n <= m
                A, A_T, low = (Y, Y_T, X) if is_wide else (Y_T, Y, X_T)
                shrink(A, A_T, min(n, m), max(n, m), weight, low)
                if not is_wide:
                    transpose(X_T, m, n, X)
            put_back(X, mean, at, size, top, total, count)


@inlined
def gather(x, at, size, Y, mean):
    """The patches at these places, each a row of Y, less their mean, which is a patch too."""
    width, n = x.shape[1], len(at)
    mean[:] = 0
    for k in range(n):
        i, j = at[k] // width, at[k] % width
        for s in range(size):
            for t in range(size):
                Y[k, s * size + t] = x[i + s, j + t]
        for p in range(len(mean)):
            mean[p] += Y[k, p]
    for p in range(len(mean)):
        mean[p] /= n
    for k in range(n):
        for p in range(len(mean)):
            Y[k, p] -= mean[p]


@inlined
def transpose(A, r, c, A_T):
    """A_T = the transpose of A (r, c), and zeros to the end of its rows."""
    for j in range(c):
        for i in range(r):
            A_T[j, i] = A[i, j]
        for i in range(r, A_T.shape[1]):
            A_T[j, i] = 0


@inlined
def difference(x, noisy, place, size):
    """The mean squared difference of two images in the patch at this place."""
    i, j = place // x.shape[1], place % x.shape[1]
    total = np.float32(0)
    for s in range(i, i + size):
        for t in range(j, j + size):
            total += (x[s, t] - noisy[s, t]) ** 2
    return total / (size * size)


@inlined
def put_back(X, mean, at, size, top, total, count):
    """Add the rows of X and their mean to the patches at these places."""
    width = total.shape[1]
    for k in range(len(at)):
        i, j = at[k] // width - top, at[k] % width
        for s in range(size):
            for t in range(size):
                total[i + s, j + t] += X[k, s * size + t] + mean[s * size + t]
                count[i + s, j + t] += 1
