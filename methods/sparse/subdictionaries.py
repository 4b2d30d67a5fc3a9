"""Many small dictionaries in place of a large one: patches of one kind share an orthonormal basis.

Dong, Zhang, Shi, Li, "Nonlocally Centralized Sparse Representation for Image Restoration", IEEE TIP 22(4), 2013: the
high frequencies of a patch tell its kind, by k-means. The basis is of the principal components of its cluster.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from bench.methods.sparse.collaborative import dct
from bench.methods.sparse.compiled import do_in_parallel, inlined, kernel, product
from bench.methods.sparse.low_rank import padded
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

__all__ = ["Subdictionaries", "clustered", "learned", "principal_components"]

Array = NDArray[np.float32]
Kinds = NDArray[np.int32]

REDUCTIONS = (0.8**2, 0.8**4, 0.8**6)  # of the sides of a picture, whose patches are learned from too
SAMPLE = 2**19  # patches that are learned from at most: 512 x 512 pixels have fewer
FLAT = 16.0  # high frequencies of a mean square below this and the noise's variance are those of a flat patch
CLUSTERS = 70  # at first
FEWEST = 40  # clusters that are never given up
ITERATIONS = 14  # of k-means
GIVE_UP_AFTER = 12  # iterations
AT_ONCE = 2048  # patches whose cluster a thread finds before it asks for more
ROWS = 4  # of patches, likewise
SWEEPS = 20  # of Jacobi's rotations at most; 6 to 9 it takes
NEGLIGIBLE = 1e-14  # of the squares of a matrix: what is left beside its diagonal


class Subdictionaries(NamedTuple):
    """Orthonormal bases, and which of them is whose.

    bases  (n, m, padded(m)) with m = size^2: bases[k, :, j] is atom j of basis k for j < m, and zeros beyond
    kinds  (H - size + 1, W - size + 1): the basis of the patch whose top left pixel is (i, j)
    """

    bases: Array
    kinds: Kinds


def learned(x: Array, size: int, sigma: float, blur: float, smallest: int) -> Subdictionaries:
    """The bases of all patches of size x size pixels of an image: basis 0 of flat ones, the others of the clusters.

    x         (H, W), both sides at least `size`, on the 0-255 scale
    sigma     standard deviation of the noise in x
    blur      standard deviation in pixels of the Gaussian that takes away high frequencies
    smallest  patches that a cluster should have

    Learned from x and its REDUCTIONS. If they have more than SAMPLE patches, every second, third, ... one is taken.
    k-means starts from a fixed seed. Where flat patches are fewer than `smallest`, their basis is the DCT.
    """
    pictures = [x, *(reduced(x, factor) for factor in REDUCTIONS if factor * min(x.shape) >= size)]
    details = [one - gaussian_filter(one, blur, radius=size // 2 + 1) for one in pictures]
    every = -(-sum(n_patches(one, size) for one in pictures) // SAMPLE)
    Y, features = (np.concatenate([patches(one, size, every) for one in some]) for some in (pictures, details))

    bound = np.float32(sigma**2 + FLAT)
    flat = is_flat(features, bound)
    features = features[~flat]
    centres, labels = clustered(features, smallest)
    kind = np.zeros(len(Y), np.int32)
    kind[~flat] = 1 + labels

    bases = np.zeros((1 + len(centres), size**2, padded(size**2)), np.float32)

    def learn(a: int, b: int) -> None:
        for k in range(a, b):
            bases[k, :, : size**2] = principal_components(Y[kind == k])

    do_in_parallel(learn, len(bases), 1)
    if np.count_nonzero(flat) < smallest:
        bases[0, :, : size**2] = np.kron(dct(size), dct(size)).T
    return Subdictionaries(bases, kinds(details[0], size, bound, centres))


def kinds(details: Array, size: int, bound: np.float32, centres: Array) -> Kinds:
    """0 for the flat patches of an image with these details (H, W), 1 + the nearest centre for the others."""
    found = np.empty([n - size + 1 for n in details.shape], np.int32)

    def find(a: int, b: int) -> None:
        features = patches(details[a : b + size - 1], size)
        labels = 1 + nearest(features, centres) if len(centres) else 0
        found[a:b] = np.where(is_flat(features, bound), 0, labels).reshape(b - a, -1)

    do_in_parallel(find, len(found), ROWS)
    return found


def reduced(x: Array, factor: float) -> Array:
    """An image (H, W) with sides `factor` times as long: bilinear, over as many pixels as become one."""
    height, width = (round(factor * n) for n in x.shape)
    return np.asarray(Image.fromarray(x).resize((width, height), Image.Resampling.BILINEAR))


def n_patches(x: Array, size: int) -> int:
    return (x.shape[0] - size + 1) * (x.shape[1] - size + 1)


def patches(x: Array, size: int, every: int = 1) -> Array:
    """Every so many-th patch of x, row by row, each a row of pixels: (n, size^2)."""
    Y = np.empty((-(-n_patches(x, size) // every), size**2), np.float32)
    take(x, size, every, Y)
    return Y


@kernel
def take(x, size, every, Y):
    gw = x.shape[1] - size + 1
    for n in range(len(Y)):
        i, j = n * every // gw, n * every % gw
        for s in range(size):
            for t in range(size):
                Y[n, s * size + t] = x[i + s, j + t]


def is_flat(features: Array, bound: np.float32) -> NDArray[np.bool_]:
    """Of which of the rows the mean square is below the bound."""
    return np.einsum("nm,nm->n", features, features) < bound * features.shape[1]


def clustered(Y: Array, smallest: int) -> tuple[Array, Kinds]:
    """k-means: the centres (k, m), and which of them is the nearest to each row of Y (n, m).

    It begins with CLUSTERS rows of Y, or with one for `smallest` of them where Y has fewer. Late, those with fewer
    than `smallest` rows are given up, the smallest first, while there are more than FEWEST.
    """
    n = len(Y)
    if n == 0:
        return Y, np.empty(0, np.int32)
    k = min(CLUSTERS, -(-n // smallest))
    centres = Y[np.random.default_rng(0).choice(n, k, replace=False)]
    for i in range(1, ITERATIONS + 1):
        counts = move(centres, Y, nearest(Y, centres))
        if i == GIVE_UP_AFTER:
            smallest_ones = np.argsort(counts, kind="stable")[: max(0, k - FEWEST)]
            centres = np.delete(centres, smallest_ones[counts[smallest_ones] < smallest], axis=0)
    return centres, nearest(Y, centres)


def nearest(Y: Array, centres: Array) -> Kinds:
    """Which of the centres (k, m), one at least, is the nearest to each row of Y (n, m)."""
    k, m = centres.shape
    columns = np.zeros((m, padded(k)), np.float32)
    columns[:, :k] = centres.T
    half_squares = np.sum(centres**2, axis=1) / 2
    labels = np.empty(len(Y), np.int32)
    do_in_parallel(lambda a, b: find_nearest(Y[a:b], columns, half_squares, labels[a:b]), len(Y), AT_ONCE)
    return labels


@kernel
def find_nearest(Y, columns, half_squares, labels):
    """||y - c||^2 / 2 is least where y' c - ||c||^2 / 2 is greatest."""
    k = len(half_squares)
    dots = np.empty(columns.shape[1], np.float32)
    for i in range(len(Y)):
        product(Y[i], columns, dots)
        most, best = np.float32(-np.inf), k
        for j in range(k):
            dots[j] -= half_squares[j]
        for j in range(k):
            most = max(most, dots[j])
        for j in range(k):
            best = min(best, j if dots[j] == most else k)
        labels[i] = best


@kernel
def move(centres, Y, labels):
    """Each centre becomes the mean of its rows of Y, and stays where it has none; how many they are."""
    k, m = centres.shape
    sums, counts = np.zeros((k, m), np.float64), np.zeros(k, np.int64)
    for i in range(len(Y)):
        counts[labels[i]] += 1
        for t in range(m):
            sums[labels[i], t] += Y[i, t]
    for j in range(k):
        for t in range(m):
            if counts[j] > 0:
                centres[j, t] = sums[j, t] / counts[j]
    return counts


def principal_components(Y: Array) -> NDArray[np.float64]:
    """Those of the rows of Y (n, m): the columns of an orthonormal (m, m), in no order that means anything."""
    m = Y.shape[1]
    C, U_T = covariance(Y), np.eye(m)
    diagonalise(C, U_T)
    return U_T.T


@kernel
def covariance(Y):
    """Of the rows of Y (n, m), in float64. BLAS would sum in an order that depends on how many threads it has."""
    n, m = Y.shape
    mean, y, C = np.zeros(m), np.empty(m), np.zeros((m, m))
    for i in range(n):
        for t in range(m):
            mean[t] += Y[i, t] / n
    for i in range(n):
        for t in range(m):
            y[t] = Y[i, t] - mean[t]
        for s in range(m):
            for t in range(m):
                C[s, t] += y[s] * y[t] / n
    return C


@kernel
def diagonalise(A, U_T):
    """A = U' A U, diagonal, for the U that is the product of Jacobi's rotations; of its transpose rows are rotated.

    A    symmetric, (m, m)
    U_T  at first I
    Source: Golub, Van Loan, Matrix Computations, 4th ed., Sec. 8.5. LAPACK's `syevd` would call BLAS, whose threads
    wait for each other in these small products: on busy cores that took 20 times as long.
    """
    m = len(A)
    norm = np.sum(A * A)
    for _ in range(SWEEPS):
        beside = norm - np.sum(np.diag(A) ** 2)
        if beside <= NEGLIGIBLE * norm:
            return
        for p in range(m - 1):
            for q in range(p + 1, m):
                if A[p, q] == 0:
                    continue
                tau = (A[q, q] - A[p, p]) / (2 * A[p, q])
                t = (1 if tau >= 0 else -1) / (abs(tau) + np.sqrt(1 + tau * tau))
                c = 1 / np.sqrt(1 + t * t)
                s = t * c
                rotate(A[p], A[q], c, s)
                rotate(A[:, p], A[:, q], c, s)
                rotate(U_T[p], U_T[q], c, s)


@inlined
def rotate(x, y, c, s):
    for k in range(len(x)):
        x[k], y[k] = c * x[k] - s * y[k], s * x[k] + c * y[k]
