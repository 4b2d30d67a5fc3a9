"""Groups of similar patches, their members taken out of an image and put back, compiled by Numba.

Here an image is an array (C, H, W), a patch is known by the number i * gw + j of its top left pixel (i, j), and its
m = C s s values are in the order of `methods.sparse.patches.extract`.
"""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.compiled import inlined, kernel

__all__ = ["add", "centre", "gather", "similar_patches"]


@kernel
def similar_patches(x, size, rows, columns, window, threshold):
    """The groups of an area: a seed and all patches at a squared distance below `threshold` from it.

    Seeds are taken row by row; a patch that lies in a group already is no seed, but may join other groups. So every
    patch of the area lies in at least one group, and groups reach beyond the area and overlap.

    x          image (C, H, W)
    rows, columns  (first, last + 1) of the area's patches
    window     members lie at most so far from the seed along each axis, in pixels
    returns    members, patch numbers, and starts: group g is members[starts[g] : starts[g + 1]]
    """
    _, H, W = x.shape
    gh, gw = H - size + 1, W - size + 1
    (top, bottom), (left, right) = rows, columns
    grouped = np.zeros((bottom - top, right - left), np.bool_)
    d2 = np.empty(2 * window + 1, x.dtype)
    members, starts = [np.int64(0) for _ in range(0)], [np.int64(0)]
    for i in range(top, bottom):
        for j in range(left, right):
            if grouped[i - top, j - left]:
                continue
            first, end = max(j - window, 0), min(j + window + 1, gw)
            for a in range(max(i - window, 0), min(i + window + 1, gh)):
                if _any_near(x, size, i, j, a, first, threshold, d2[: end - first]):
                    for b in range(first, end):
                        if d2[b - first] < threshold:
                            members.append(a * gw + b)
                            if top <= a < bottom and left <= b < right:
                                grouped[a - top, b - left] = True
            starts.append(len(members))
    return np.array(members), np.array(starts)


@inlined
def _any_near(x, size, i, j, a, first, threshold, d2):
    """d2: the squared distances of the patch (i, j) from (a, first), (a, first + 1), ...; whether one is near.

    Where none is, d2 may be of the patches' first rows only: a sum of squares never falls.
    """
    for b in range(len(d2)):
        d2[b] = 0
    for c in range(len(x)):
        for s in range(size):
            seed, row = x[c, i + s, j : j + size], x[c, a + s, first : first + len(d2) + size - 1]
            _add_squared_differences(seed, row, d2)
            n_near = 0
            for b in range(len(d2)):
                n_near += d2[b] < threshold
            if n_near == 0:
                return False
    return True


@inlined
def _add_squared_differences(seed, row, d2):
    """d2[b] += the sum over t of (row[b + t] - seed[t])^2."""
    t = 0
    while t + 4 <= len(seed):  # four at a time: d2 is read and written less often
        s0, s1, s2, s3 = seed[t], seed[t + 1], seed[t + 2], seed[t + 3]
        for b in range(len(d2)):
            e0, e1, e2, e3 = row[b + t] - s0, row[b + t + 1] - s1, row[b + t + 2] - s2, row[b + t + 3] - s3
            d2[b] += (e0 * e0 + e1 * e1) + (e2 * e2 + e3 * e3)
        t += 4
    while t < len(seed):
        for b in range(len(d2)):
            e = row[b + t] - seed[t]
            d2[b] += e * e
        t += 1


@kernel
def gather(x, size, places):
    """The patches (n, m) with these numbers, of the image x (C, H, W)."""
    C, gw = len(x), x.shape[2] - size + 1
    Y = np.empty((len(places), C * size * size), x.dtype)
    for n in range(len(places)):
        i, j = places[n] // gw, places[n] % gw
        t = 0
        for c in range(C):
            for a in range(size):
                for b in range(size):
                    Y[n, t] = x[c, i + a, j + b]
                    t += 1
    return Y


@kernel
def centre(Y, starts, C, variance):
    """Take from each patch (m,) of Y (n, m), in place, a mean in each of C channels: returns them, (n, C).

    It is the patch's own, or that of its group of k where noise alone would make the members' means differ so:
    sum_i (mu_i - mu_group)^2 < (k - 1) variance.

    starts    group g is Y[starts[g] : starts[g + 1]]
    variance  of the noise in a patch's mean; 0: always its own
    """
    mu = _means(Y, C)
    for g in range(len(starts) - 1):
        first, end = starts[g], starts[g + 1]
        for c in range(C):
            mean = 0.0
            for i in range(first, end):
                mean += mu[i, c]
            mean /= end - first
            spread = 0.0
            for i in range(first, end):
                spread += (mu[i, c] - mean) ** 2
            if spread < (end - first - 1) * variance:
                mu[first:end, c] = mean
    n = Y.shape[1] // C
    for i in range(len(Y)):
        for c in range(C):
            for t in range(c * n, (c + 1) * n):
                Y[i, t] -= mu[i, c]
    return mu


@inlined
def _means(Y, C):
    """The means (n, C) of the C channels of the patches Y (n, m)."""
    n = Y.shape[1] // C
    mu = np.empty((len(Y), C), Y.dtype)
    for i in range(len(Y)):
        for c in range(C):
            mean = 0.0
            for t in range(c * n, (c + 1) * n):
                mean += Y[i, t]
            mu[i, c] = mean / n
    return mu


@kernel
def add(Y, mu, places, size, gw, corner, total, count):
    """Add patches, less their means (n, m) and the means of their channels (n, C), to a part of the image.

    places  numbers of the patches
    corner  (i, j), the pixel of the image at which `total` (C, h, w) begins
    count   (h, w), how many patches have been added to each pixel
    """
    C = len(total)
    for n in range(len(Y)):
        i, j = places[n] // gw - corner[0], places[n] % gw - corner[1]
        t = 0
        for c in range(C):
            for a in range(i, i + size):
                for b in range(j, j + size):
                    total[c, a, b] += Y[n, t] + mu[n, c]
                    t += 1
        for a in range(i, i + size):
            for b in range(j, j + size):
                count[a, b] += 1
