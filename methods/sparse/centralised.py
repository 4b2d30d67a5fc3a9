"""Sparse codes drawn towards a non-local estimate of themselves, in place of towards zero.

Dong, Zhang, Shi, Li, "Nonlocally Centralized Sparse Representation for Image Restoration", IEEE TIP 22(4), 2013.

A patch x_i has the code alpha_i = B' x_i in its orthonormal basis B. That of the clean patch is near beta_i, the mean
of the codes of similar patches x_q with weights w_q (Eq. 9 and 10). So alpha_i becomes, coefficient by coefficient,

    S_tau(alpha_i - beta_i) + beta_i        tau = c sqrt(2) s^2 / sigma_i

for soft thresholding S_tau (Eq. 19), noise of variance s^2, and sigma_i^2, the mean of (alpha_q - beta_i)^2 over the
similar patches less s^2 (Eq. 17, where c is 2). The code of a mean is the mean of codes: patches are averaged here,
and their differences from the mean are coded.
"""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.compiled import do_in_parallel, in_parallel, inlined, kernel, squared_norm
from bench.methods.sparse.subdictionaries import Subdictionaries
from numpy.typing import NDArray

__all__ = ["centralised", "similarities"]

Array = NDArray[np.float32]
Places = NDArray[np.int32]

ROWS = 4  # of patches that a thread takes before it asks for more
TINY = np.float32(1e-9)  # what sigma_i is at least: without a difference beyond the noise's the code becomes beta_i
TOGETHER = 4  # patches that `products` multiplies side by side


def similarities(x: Array, places: Places, counts: Places, size: int, h: float) -> Array:
    """w_q = exp(-||x_i - x_q||^2 / (m h)), divided by their sum, for all similar patches of all patches of x (H, W).

    places, counts  those of `matching.similar_blocks`, step 1
    h               in the units of x squared
    returns         as `places`

    A patch itself weighs as much as the one most like it, and not 1 before the division.
    """
    weights = np.zeros(places.shape, np.float32)

    def weigh(a: int, b: int) -> None:
        compare(x, places[a:b], counts[a:b], size, np.float32(h), weights[a:b])

    do_in_parallel(weigh, len(places), ROWS)
    return weights


def centralised(
    x: Array, places: Places, counts: Places, weights: Array, dictionaries: Subdictionaries, s: float, c: float
) -> Array:
    """The mean of the estimates that all patches of x give of each pixel, (H, W).

    s        standard deviation of the noise that is left in x
    weights  of `similarities`
    """
    H, W = x.shape
    gh, gw = places.shape[:2]
    size = H - gh + 1
    bases, kinds = dictionaries
    variance, factor = np.float32(s**2), np.float32(c * np.sqrt(2) * s**2)

    def band(a: int, b: int) -> tuple[int, Array]:
        sums = np.zeros((b - a + size - 1, W), np.float32)
        estimate(x, places[a:b], counts[a:b], weights[a:b], bases, kinds[a:b], size, variance, factor, sums)
        return a, sums

    total = np.zeros((H, W), np.float32)
    for top, sums in in_parallel(band, gh, ROWS):
        total[top : top + len(sums)] += sums
    down, across = (np.convolve(np.ones(n, np.float32), np.ones(size, np.float32)) for n in (gh, gw))
    return total / np.outer(down, across)


@kernel
def compare(x, places, counts, size, h, weights):
    m = size * size
    X, difference = np.empty((places.shape[2], m), np.float32), np.empty(m, np.float32)
    for r in range(places.shape[0]):
        for c in range(places.shape[1]):
            n, w = counts[r, c], weights[r, c]
            gather(x, places[r, c], n, size, X)
            least = np.float32(np.inf)
            for q in range(1, n):
                for t in range(m):
                    difference[t] = X[q, t] - X[0, t]
                w[q] = squared_norm(difference) / m
                least = min(least, w[q])
            w[0] = least
            total = np.float32(0)
            for q in range(n):
                w[q] = np.exp((least - w[q]) / h) if n > 1 else 1
                total += w[q]
            for q in range(n):
                w[q] /= total


@kernel
def estimate(x, places, counts, weights, bases, kinds, size, variance, factor, sums):
    """Add the estimates of some rows of patches to `sums`, which begins where the first of them does."""
    m, p, most = size * size, bases.shape[2], places.shape[2]
    X = np.zeros((most + TOGETHER - 1, m), np.float32)
    A = np.empty((most + TOGETHER - 1, p), np.float32)
    mean, power, patch = np.empty(m, np.float32), np.empty(p, np.float32), np.empty(m, np.float32)
    for r in range(places.shape[0]):
        for c in range(places.shape[1]):
            n, w, B = counts[r, c], weights[r, c], bases[kinds[r, c]]
            gather(x, places[r, c], n, size, X)
            mean[:] = 0
            for q in range(n):
                for t in range(m):
                    mean[t] += w[q] * X[q, t]
            for q in range(n):
                for t in range(m):
                    X[q, t] -= mean[t]
            products(X, n, B, A)  # alpha_q - beta_i
            power[:] = 0
            for q in range(n):
                for j in range(p):
                    power[j] += A[q, j] * A[q, j]
            for j in range(p):
                sigma = np.sqrt(max(power[j] / n - variance, np.float32(0)))
                tau = factor / (sigma + TINY)
                A[0, j] = max(A[0, j] - tau, np.float32(0)) + min(A[0, j] + tau, np.float32(0))
            for t in range(m):
                total = np.float32(0)
                for j in range(p):
                    total += B[t, j] * A[0, j]
                patch[t] = mean[t] + total
            for s in range(size):
                for t in range(size):
                    sums[r + s, c + t] += patch[s * size + t]


@inlined
def gather(x, places, n, size, X):
    """The first n patches at `places`, each a row of X."""
    for q in range(n):
        i, j = places[q] // x.shape[1], places[q] % x.shape[1]
        for s in range(size):
            for t in range(size):
                X[q, s * size + t] = x[i + s, j + t]


@inlined
def products(X, n, B, out):
    """The first n rows of out = X B, and others up to a multiple of TOGETHER. A row of B serves four of X."""
    for q in range(0, n, TOGETHER):
        u, v, w, z = out[q], out[q + 1], out[q + 2], out[q + 3]
        out[q : q + TOGETHER] = 0
        t = 0
        while t + 2 <= len(B):
            B0, B1 = B[t], B[t + 1]
            u0, v0, w0, z0 = X[q, t], X[q + 1, t], X[q + 2, t], X[q + 3, t]
            u1, v1, w1, z1 = X[q, t + 1], X[q + 1, t + 1], X[q + 2, t + 1], X[q + 3, t + 1]
            for j in range(B.shape[1]):
                u[j] += u0 * B0[j] + u1 * B1[j]
                v[j] += v0 * B0[j] + v1 * B1[j]
                w[j] += w0 * B0[j] + w1 * B1[j]
                z[j] += z0 * B0[j] + z1 * B1[j]
            t += 2
        if t < len(B):
            B0 = B[t]
            u0, v0, w0, z0 = X[q, t], X[q + 1, t], X[q + 2, t], X[q + 3, t]
            for j in range(B.shape[1]):
                u[j] += u0 * B0[j]
                v[j] += v0 * B0[j]
                w[j] += w0 * B0[j]
                z[j] += z0 * B0[j]
