"""Matrices of low rank: the weighted nuclear norm's minimiser, by those singular values alone that are kept.

Gu, Zhang, Zuo, Feng, "Weighted Nuclear Norm Minimization with Application to Image Denoising", CVPR 2014, and with
Xie and Meng, "Weighted Nuclear Norm Minimization and Its Applications to Low Level Vision", IJCV 121, 2017.

A group of patches has few singular values above the threshold. So of its Gram matrix only the eigenvalues above that
are searched, by bisection with Sturm's count, and their eigenvectors, by inverse iteration: Golub, Van Loan, Matrix
Computations, 4th ed., Sec. 8.3.1, 8.4.2 and 7.6.1. Of a 49 x 49 matrix that takes a third of the time of LAPACK's
`syevd`, and it gives the same on any number of threads.
"""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.compiled import inlined, product

__all__ = ["padded", "shrink"]

LANES = 16
"""numbers of which rows are padded to a multiple"""

BISECTIONS = 26  # of an interval as long as the norm: to 1.5e-8 of it, below the rounding of float32
CLUSTERED = 1e-3  # of the norm: eigenvectors of eigenvalues this near are made orthogonal, as by LAPACK's `stein`
SOLVES = 2  # of inverse iteration for an eigenvector


@inlined
def padded(n):
    """n, or the next multiple of LANES above it: loops over rows of such a length leave no rest to add one by one."""
    return -(-n // LANES) * LANES


@inlined
def shrink(Y, Y_T, r, c, weight, X):
    """X (r, c) = argmin_X 1/2 ||Y - X||_F^2 + sum_i w_i s_i(X), of which returns the rank.

    The weights are those of one reweighting after the other, w_i = weight / s_i(X), until nothing changes any more: a
    singular value s of Y becomes (s + sqrt(s^2 - 4 weight)) / 2, or 0 where the root is of a negative number (IJCV,
    Remark 1, for epsilon = 0).

    Y, X    float32, Y (r, c) and zeros up to (r, padded(c)) with r <= c; X likewise
    Y_T     its transpose, (c, r) and zeros up to (c, padded(r))
    weight  > 0, in the units of Y squared
    """
    G = np.empty((r, Y_T.shape[1]), np.float32)
    for i in range(r):
        product(Y[i, :c], Y_T, G[i])
    diagonal, beside = np.empty(r), np.zeros(r)
    reflectors, factors = np.zeros_like(G), np.zeros(r, np.float32)
    tridiagonal(G, diagonal, beside, reflectors, factors)
    squares = eigenvalues_above(diagonal, beside, 4 * weight)
    k = len(squares)
    if k == 0:
        X[:r] = 0
        return 0
    U = np.zeros((k, G.shape[1]), np.float32)
    U[:, :r] = eigenvectors(diagonal, beside, squares)
    turn_back(U, reflectors, factors)
    P, gains = np.empty((k, Y.shape[1]), np.float32), np.empty((r, k), np.float32)
    for i in range(k):
        product(U[i, :r], Y, P[i])
        gain = np.float32(0.5 * (1 + np.sqrt(max(0.0, 1 - 4 * weight / squares[i]))))
        for j in range(r):
            gains[j, i] = gain * U[i, j]
    for j in range(r):
        product(gains[j], P, X[j])
    return k


@inlined
def tridiagonal(G, diagonal, beside, reflectors, factors):
    """Q' G Q = T for Householder's Q, the product of all I - factors[i] v v' with v = reflectors[i].

    G     (r, r) and zeros up to (r, padded(r)); it is used up
    T     `diagonal` (r,), and beside[i] between i - 1 and i; beside[0] is 0
    v     as long as a row of G, zeros up to i
    """
    r, width = G.shape
    memory = np.empty(width, np.float32)
    for i in range(r - 1):
        diagonal[i] = G[i, i]
        reflectors[i, i + 1 : r] = G[i, i + 1 : r]
        start = (i + 1) // LANES * LANES  # before it there is nothing in v
        v, p = reflectors[i, start:], memory[start:]
        total = np.float32(0)
        for t in range(len(v)):
            total += v[t] * v[t]
        norm, first = np.sqrt(total), G[i, i + 1]
        alpha = -norm if first > 0 else norm
        beside[i + 1] = alpha
        of_v = total - first * alpha  # half of ||v||^2
        if of_v <= 0:
            beside[i + 1] = first
            reflectors[i] = 0
            continue
        reflectors[i, i + 1] = first - alpha
        tau = 1 / of_v
        factors[i] = tau
        product(reflectors[i, i + 1 : r], G[i + 1 :, start:], p)
        half = np.float32(0)
        for t in range(len(v)):
            half += p[t] * v[t]
        half *= np.float32(0.5) * tau
        for t in range(len(v)):
            p[t] = tau * (p[t] - half * v[t])
        for s in range(i + 1, r):
            a, b, row = reflectors[i, s], memory[s], G[s, start:]
            for t in range(len(v)):
                row[t] -= a * p[t] + b * v[t]
    diagonal[r - 1] = G[r - 1, r - 1]


@inlined
def turn_back(U, reflectors, factors):
    """Rows of U (k, padded(r)), eigenvectors of T = Q' G Q, become those of G: u = Q u."""
    for i in range(len(reflectors) - 2, -1, -1):
        start = (i + 1) // LANES * LANES
        v = reflectors[i, start:]
        for j in range(len(U)):
            u = U[j, start:]
            total = np.float32(0)
            for t in range(len(v)):
                total += v[t] * u[t]
            total *= factors[i]
            for t in range(len(v)):
                u[t] -= total * v[t]


@inlined
def eigenvalues_above(diagonal, beside, bound):
    """The eigenvalues above `bound` of a tridiagonal matrix, descending. All of them are bisected side by side."""
    r = len(diagonal)
    norm = 0.0
    squared = np.empty(r)
    for i in range(r):
        after = abs(beside[i + 1]) if i + 1 < r else 0.0
        norm = max(norm, abs(diagonal[i]) + abs(beside[i]) + after)
        squared[i] = beside[i] ** 2
    lower, counts, q = np.full(1, float(bound)), np.empty(1, np.int64), np.empty(1)
    count_above(diagonal, squared, lower, q, counts)
    k = counts[0]
    if k == 0 or norm <= bound:
        return np.empty(0)
    low, high = np.full(k, float(bound)), np.full(k, norm)
    middle, counts, q = np.empty(k), np.empty(k, np.int64), np.empty(k)
    for _ in range(BISECTIONS):
        for j in range(k):
            middle[j] = 0.5 * (low[j] + high[j])
        count_above(diagonal, squared, middle, q, counts)
        for j in range(k):
            if counts[j] > j:
                low[j] = middle[j]
            else:
                high[j] = middle[j]
    return low


@inlined
def count_above(diagonal, squared, x, q, counts):
    """How many eigenvalues are above each x: pivots of T - x I > 0, by Sylvester's law."""
    for j in range(len(x)):
        q[j] = 1
        counts[j] = 0
    for i in range(len(diagonal)):
        d, e = diagonal[i], squared[i]
        for j in range(len(x)):
            pivot = d - x[j] - e / q[j]
            if abs(pivot) < 1e-30:
                pivot = -1e-30
            q[j] = pivot
            counts[j] += pivot > 0


@inlined
def eigenvectors(diagonal, beside, values):
    """Orthonormal eigenvectors (k, r) of a tridiagonal matrix, to its eigenvalues (k,), descending."""
    k, r = len(values), len(diagonal)
    Z = np.empty((k, r))
    norm = max(abs(values[0]), abs(values[-1]))
    first, second, third, ratio, swapped = np.empty(r), np.empty(r), np.empty(r), np.empty(r), np.empty(r, np.bool_)
    near = 0  # the first of the eigenvalues that this one lies near to
    value = values[0]
    for j in range(k):
        if j:
            if values[j - 1] - values[j] > CLUSTERED * norm:
                near = j
            value = min(values[j], value - 1e-14 * norm)
        factorise(diagonal, beside, value, 1e-16 * norm, first, second, third, ratio, swapped)
        z = Z[j]
        state = np.uint32(j + 1)
        for t in range(r):
            state = np.uint32(1664525) * state + np.uint32(1013904223)
            z[t] = np.int32(state) * 2.0**-31
        for _ in range(SOLVES):
            solve(first, second, third, ratio, swapped, z)
            for i in range(near, j):
                other, total = Z[i], 0.0
                for t in range(r):
                    total += other[t] * z[t]
                for t in range(r):
                    z[t] -= total * other[t]
            normalise(z)
    return Z


@inlined
def factorise(diagonal, beside, value, least, first, second, third, ratio, swapped):
    """T - value I = P L R with rows exchanged where that gives the larger pivot; R has three diagonals."""
    r = len(diagonal)
    a, b = diagonal[0] - value, beside[1] if r > 1 else 0.0
    for i in range(r - 1):
        below, d, e = beside[i + 1], diagonal[i + 1] - value, beside[i + 2] if i + 2 < r else 0.0
        if abs(a) >= abs(below):
            if abs(a) < least:
                a = least
            swapped[i] = False
            ratio[i] = below / a
            first[i], second[i], third[i] = a, b, 0
            a, b = d - ratio[i] * b, e
        else:
            swapped[i] = True
            ratio[i] = a / below
            first[i], second[i], third[i] = below, d, e
            a, b = b - ratio[i] * d, -ratio[i] * e
    first[r - 1] = a if abs(a) >= least else least


@inlined
def solve(first, second, third, ratio, swapped, z):
    r = len(first)
    for i in range(r - 1):
        if swapped[i]:
            z[i], z[i + 1] = z[i + 1], z[i]
        z[i + 1] -= ratio[i] * z[i]
    after, last = 0.0, 0.0
    for i in range(r - 1, -1, -1):
        x = z[i]
        if i + 1 < r:
            x -= second[i] * after
        if i + 2 < r:
            x -= third[i] * last
        x /= first[i]
        z[i], last, after = x, after, x


@inlined
def normalise(z):
    """z / ||z||, in place; first by its largest entry, so that no square is too large."""
    most = 0.0
    for t in range(len(z)):
        most = max(most, abs(z[t]))
    if most == 0:
        z[0] = most = 1.0
    total = 0.0
    for t in range(len(z)):
        z[t] /= most
        total += z[t] * z[t]
    scale = 1 / np.sqrt(total)
    for t in range(len(z)):
        z[t] *= scale
