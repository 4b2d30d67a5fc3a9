"""LIDIA's groups of patches and its separable layers, compiled: a few groups at a time stay in a core's caches.

A group is (rows, width): each row one of its patches, or what a layer has made of them. Widths are filled up with
zeros to multiples of LANES, rows are multiples of ROWS. All arrays are float32 and C-contiguous.
"""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.compiled import inlined, kernel
from bench.methods.sparse.products import LANES, VECTORS, layer, product

__all__ = [
    "OVERHANG",
    "ROWS",
    "add_estimates",
    "add_moments",
    "estimated",
    "group_of_one",
    "members",
    "one_patch",
    "separable",
]

ROWS = 14  # of a product at once, of two vectors each: most of AVX-512's 32 registers
PAIR = 2 * LANES if VECTORS == 4 else LANES  # columns of a product at once
OVERHANG = 8  # pixels copied of each row of a patch, at least as many as it has: eight are one instruction

_product, _last_product = product(PAIR // LANES, rows=ROWS, add=False), product(1, rows=ROWS, add=False)
_layer, _last_layer = layer(PAIR // LANES, rows=ROWS), layer(1, rows=ROWS)


@kernel
def members(x, size, dilation, gw, side, candidates, weights, first, step, out, at):
    """out[g, at + k] <- the k-th member of the group of patch first + g step, times its weight.

    x           (dilation, C, h, w): every dilation-th column, from each of the first on; OVERHANG more than it has
    gw          patches in a row of the grid
    candidates  (N, K): o for the patch that begins (o // side) * dilation rows below the grid's and
                (o % side) * dilation columns to the right of it
    weights     (N, K)
    out         (n, rows, width): m numbers of each row, and up to OVERHANG - size that mean nothing
    """
    channels = x.shape[1]
    for g in range(len(out)):
        n = first + g * step
        for k in range(candidates.shape[1]):
            o, weight = candidates[n, k], weights[n, k]
            row, column = n // gw + o // side * dilation, n % gw + o % side * dilation
            phase, column, patch = x[column % dilation], column // dilation, out[g, at + k]
            for c in range(channels):
                for a in range(size):
                    to, pixels = patch[(c * size + a) * size :], phase[c, row + a * dilation, column:]
                    for b in range(OVERHANG):
                        to[b] = weight * pixels[b]


@kernel
def separable(X, m, ver, hor, b, least, a, T, Y, at):
    """Y[:, at :] <- a X + (1 - a) max(hor X ver + b, least), group by group, the part with X only for a > 0.

    X      (n, hor_in, >= m), of which the first m columns count
    ver    (m, width), hor (hor_out, hor_in), b (hor_out, width)
    least  0 for a ReLU, minus infinity for none
    T      (>= hor_in, width), for hor_in of X ver
    """
    (_, rows, ld), (hor_out, hor_in), (m, width) = X.shape, hor.shape, ver.shape
    X_at, Y_at, T_at, ver_at, hor_at, b_at = (
        X.ctypes.data,
        Y.ctypes.data,
        T.ctypes.data,
        ver.ctypes.data,
        hor.ctypes.data,
        b.ctypes.data,
    )
    for g in range(len(X)):
        x_at, y_at = X_at + 4 * g * rows * ld, Y_at + 4 * (g * Y.shape[1] + at) * width
        for r in range(0, hor_in, ROWS):
            A, C = x_at + 4 * r * ld, T_at + 4 * r * width
            c = 0
            while c + PAIR <= width:
                _product(C + 4 * c, width, A, ld, ver_at + 4 * c, width, m)
                c += PAIR
            if c < width:
                _last_product(C + 4 * c, width, A, ld, ver_at + 4 * c, width, m)
        for r in range(0, hor_out, ROWS):
            A, C, D = hor_at + 4 * r * hor_in, y_at + 4 * r * width, b_at + 4 * r * width
            c = 0
            while c + PAIR <= width:
                _layer(C + 4 * c, width, D + 4 * c, width, least, A, hor_in, T_at + 4 * c, width, hor_in)
                c += PAIR
            if c < width:
                _last_layer(C + 4 * c, width, D + 4 * c, width, least, A, hor_in, T_at + 4 * c, width, hor_in)
        if a != 0:
            for r in range(hor_out):
                y, x = Y[g, at + r], X[g, r]
                for t in range(width):
                    y[t] += a * (x[t] - y[t])


@kernel
def add_moments(Y, width, total, squares):
    """total, squares (rows,), float64, += the sums of the first numbers of each row of Y (n, rows, >= width)."""
    for g in range(len(Y)):
        for r in range(len(total)):
            y, sum_1, sum_2 = Y[g, r], np.float32(0), np.float32(0)
            for t in range(width):
                sum_1 += y[t]
                sum_2 += y[t] * y[t]
            total[r] += sum_1
            squares[r] += sum_2


@kernel
def one_patch(hor, X, ver, b, z, out):
    """out (n, width) <- (hor X) ver + b: of each group X (n, rows, m) one patch.

    hor  (rows,), ver (m, width), b (width,)
    z    (n, m), for hor X; n is a multiple of ROWS, groups that are not wanted may mean nothing
    """
    for g in range(len(X)):
        total = z[g]
        total[:] = 0
        for k in range(len(hor)):
            x = X[g, k]
            for t in range(len(total)):
                total[t] += hor[k] * x[t]
    _rows(z, len(ver), ver, b, out)


@kernel
def group_of_one(X, m, ver, hor, b, nothing, z, out, at):
    """out[g, at + k] <- max(hor[k] (X[g] ver) + b[k], 0), for X (n, >= m), hor (K,), b (K, width).

    nothing  (width,) zeros
    z        (n, width), for X ver; n is a multiple of ROWS
    """
    _rows(X, m, ver, nothing, z)
    for g in range(len(X)):
        for k in range(len(hor)):
            y, from_z, to_b = out[g, at + k], z[g], b[k]
            for t in range(len(from_z)):
                y[t] = max(hor[k] * from_z[t] + to_b[t], 0)


@inlined
def _rows(X, m, ver, b, Y):
    """Y (n, width) <- X[:, :m] ver + b."""
    (n, width), ld = Y.shape, X.shape[1]
    X_at, Y_at, ver_at, b_at, none = X.ctypes.data, Y.ctypes.data, ver.ctypes.data, b.ctypes.data, np.float32(-np.inf)
    for r in range(0, n, ROWS):
        A, C = X_at + 4 * r * ld, Y_at + 4 * r * width
        c = 0
        while c + PAIR <= width:
            _layer(C + 4 * c, width, b_at + 4 * c, 0, none, A, ld, ver_at + 4 * c, width, m)
            c += PAIR
        if c < width:
            _last_layer(C + 4 * c, width, b_at + 4 * c, 0, none, A, ld, ver_at + 4 * c, width, m)


@kernel
def estimated(y, noise, beta, estimates, weights):
    """estimates (n, m) <- patches y (n, 1, >= m) without noise (n, >= m), times their weights exp(-beta variance).

    weights  (n,)
    """
    n, m = estimates.shape
    for g in range(n):
        x_hat, from_y, e = estimates[g], y[g, 0], noise[g]
        for t in range(m):
            x_hat[t] = from_y[t] - e[t]
        mean = np.float32(0)
        for t in range(m):
            mean += x_hat[t]
        mean /= m
        variance = np.float32(0)
        for t in range(m):
            variance += (x_hat[t] - mean) ** 2
        weights[g] = np.exp(-beta * variance / m)
        for t in range(m):
            x_hat[t] *= weights[g]


@kernel
def add_estimates(patches, size, dilation, gw, first, total):
    """total (C, h, w) += patches (n, m), those of the grid from `first` on, each in its place."""
    for g in range(len(patches)):
        row, column, patch = (first + g) // gw, (first + g) % gw, patches[g]
        for c in range(len(total)):
            for a in range(size):
                values, pixels = patch[(c * size + a) * size :], total[c, row + a * dilation, column:]
                for b in range(size):
                    pixels[b * dilation] += values[b]
