"""Groups of like patches, each patch estimated by a linear combination of all of its group.

Herbreteau, Kervrann, "Towards a Unified View of Unsupervised Non-Local Methods for Image Denoising: the NL-Ridge
Approach", ICIP 2022; "A Unified Framework of Nonlocal Parametric Methods for Image Denoising", SIAM J. Imaging Sci.
18(1), 2025.

The patches y_j = x_j + noise of variance sigma^2, in R^n, are the columns of Y (n, k). The expected error of Y Theta,
||X Theta - X||^2 + tau ||Theta||^2 with tau = n sigma^2, is least for a Theta that a ridge regression gives. Its
columns sum to 1 here (the affine case): patches that differ by a constant are estimated alike. With Y_c and X_c less
the mean patch of the group, and 1 the vector of k ones,

    Theta = I - tau B + 1 1' / k        B = (X_c' X_c + tau I)^-1            if X is known, as from a pilot
                                        B = (Y_c' Y_c + (tau / k) 1 1')^-1   by Stein's unbiased estimate of the error

The two agree on average, for E[Y_c' Y_c] = X_c' X_c + tau (I - 1 1' / k).
"""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.compiled import in_parallel, inlined, kernel, product, squared_norm
from bench.methods.sparse.matching import similar_blocks
from numpy.typing import NDArray

__all__ = ["combined"]

Array = NDArray[np.float32]

REFERENCE_ROWS = 2
"""rows of reference patches whose groups a thread takes before it asks for more"""

LEAST = 0.05
"""Of tau. Noise leaves each patch at least so far from the span of the others, squared. In a picture's clipped white
patches are nearer, and Stein's estimate is none there: the noisy patches are their own pilot then."""


def combined(y: Array, sigma: Array, size: int, k: int, step: int, nearest: int, pilot: Array | None = None) -> Array:
    """The average of the estimates of all groups, (C, H, W).

    y        noisy image (C, H, W), both sides at least `size`; each channel has weights of its own
    sigma    (C,) of the noise in each channel, in the units of y, > 0
    size     patches are size x size, n = size^2
    k        of the patches nearest to each reference patch make a group
    step     pixels between reference patches along each axis
    nearest  pixels along each axis that a member is away at most
    pilot    an estimate of the clean image, which tells X; None: y does. Patches are matched in its channel 0

    The estimate of patch j counts by 1 / ||theta_j||^2: the less noise is left in it, the more.
    Bands of groups are estimated side by side, and their sums added in a fixed order.
    """
    C, H, W = y.shape
    guide = y if pilot is None else pilot
    places, counts = similar_blocks(guide[0], size, step, nearest, k)
    tau = (size * size * sigma**2).astype(np.float32)

    def band(a: int, b: int) -> tuple[int, Array]:
        first, last = places[a, 0, 0] // W, places[b - 1, 0, 0] // W
        top, bottom = max(0, first - nearest), min(H, last + nearest + size)
        sums = np.zeros((2, C, bottom - top, W), np.float32)
        for c in range(C):
            _groups(
                y[c], guide[c], places[a:b], counts[a:b], size, tau[c], pilot is not None, top, sums[0, c], sums[1, c]
            )
        return top, sums

    total = np.zeros((2, C, H, W), np.float32)
    for top, sums in in_parallel(band, len(places), REFERENCE_ROWS):
        total[:, :, top : top + sums.shape[2]] += sums
    return total[0] / total[1]


@kernel
def _groups(y, guide, places, counts, size, tau, is_known, top, total, weights):
    n, most = size * size, places.shape[2]
    Y, centred = np.empty((most, n), np.float32), np.empty((most, n), np.float32)
    estimate = np.empty(n, np.float32)
    for r in range(len(places)):
        for c in range(places.shape[1]):
            k, at = counts[r, c], places[r, c]
            _gather(guide, at, k, size, Y)
            _centre(Y, k, centred)
            for is_own_pilot in (False, True):
                B, is_found = _inverse(_gram(centred, k), tau, is_known or is_own_pilot)
                if is_found or is_known:
                    break
            if is_known:
                _gather(y, at, k, size, Y)
                _centre(Y, k, centred)
            for j in range(k):
                noise_left = np.float32(1)  # ||theta_j||^2
                if is_found:
                    product(B[j], centred[:k], estimate)
                    for t in range(n):
                        estimate[t] = Y[j, t] - tau * estimate[t]
                    noise_left += np.float32(1) / k - 2 * tau * B[j, j] + tau * tau * squared_norm(B[j])
                else:  # sigma is below what float32 can tell
                    estimate[:] = Y[j]
                _add(estimate, 1 / noise_left, at[j], size, top, total, weights)


@inlined
def _gather(image, places, k, size, Y):
    """The first k patches at `places`, (k, n), row by row."""
    for j in range(k):
        row, column = places[j] // image.shape[1], places[j] % image.shape[1]
        t = 0
        for a in range(row, row + size):
            for b in range(column, column + size):
                Y[j, t] = image[a, b]
                t += 1


@inlined
def _centre(Y, k, centred):
    """The first k patches less their mean patch."""
    n = Y.shape[1]
    mean = np.zeros(n, np.float32)
    for j in range(k):
        for t in range(n):
            mean[t] += Y[j, t]
    for j in range(k):
        for t in range(n):
            centred[j, t] = Y[j, t] - mean[t] / k


@inlined
def _gram(Y, k):
    """Y Y' of the first k rows, (k, k): its lower triangle."""
    Y_T, M = np.ascontiguousarray(Y[:k].T), np.empty((k, k), np.float32)
    for i in range(k):
        product(Y[i], Y_T[:, : i + 1], M[i, : i + 1])
    return M


@inlined
def _inverse(M, tau, is_known):
    """B (k, k) from the Gram matrix M of its lower triangle, and whether it could be had. M is used up.

    By Cholesky: M = U' U, V = U^-1, B = V V'. Each of their rows is a product with rows that are known already.
    """
    k = len(M)
    for i in range(k):
        if is_known:
            M[i, i] += tau
        else:
            M[i, : i + 1] += tau / k
    U, V, V_T = np.empty((k, k), np.float32), np.zeros((k, k), np.float32), np.zeros((k, k), np.float32)
    w, out = np.empty(k, np.float32), np.empty(k, np.float32)
    for i in range(k):
        for t in range(i):
            w[t] = U[t, i]
        product(w[:i], U[:i, i:], out[i:])
        pivot = M[i, i] - out[i]
        if not pivot >= LEAST * tau:
            return M, False
        scale = 1 / np.sqrt(pivot)
        for j in range(i, k):
            U[i, j] = (M[j, i] - out[j]) * scale
    for i in range(k - 1, -1, -1):
        product(U[i, i + 1 :], V[i + 1 :, i + 1 :], out[i + 1 :])
        V[i, i] = V_T[i, i] = 1 / U[i, i]
        for j in range(i + 1, k):
            V[i, j] = V_T[j, i] = -V[i, i] * out[j]
    for i in range(k):
        product(V[i, i:], V_T[i:, : i + 1], M[i, : i + 1])
        for j in range(i):
            M[j, i] = M[i, j]
    return M, True


@inlined
def _add(estimate, weight, place, size, top, total, weights):
    row, column = place // total.shape[1] - top, place % total.shape[1]
    t = 0
    for a in range(row, row + size):
        for b in range(column, column + size):
            total[a, b] += weight * estimate[t]
            weights[a, b] += weight
            t += 1
