"""Groups of similar patches, their members taken out of an image and put back, compiled by Numba.

Here an image is an array (C, H, W), a patch is known by the number i * gw + j of its top left pixel (i, j), and its
m = C s s values are in the order of `methods.sparse.patches.extract`.
"""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.compiled import kernel

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
    h, w = bottom - top, right - left
    side = 2 * window + 1
    near = np.zeros(
        (side * side, h, w), np.bool_
    )  # by offset: a difference image and its sums over squares serve all
    d2, sums = np.empty((h + size - 1, w + size - 1), x.dtype), np.empty((h, w + size - 1), x.dtype)
    for o in range(side * side):
        di, dj = o // side - window, o % side - window
        i0, j0 = max(top, -di), max(left, -dj)  # the first seed whose neighbour is a patch of the image
        n_rows, n_columns = min(bottom, gh - di) - i0, min(right, gw - dj) - j0
        if n_rows > 0 and n_columns > 0:
            _squared_differences(x, i0, j0, di, dj, n_rows + size - 1, n_columns + size - 1, d2)
            _sums_over_squares(d2, size, n_rows, n_columns, sums)
            for i in range(n_rows):
                for j in range(n_columns):
                    near[o, i0 - top + i, j0 - left + j] = d2[i, j] < threshold
    grouped = np.zeros((h, w), np.bool_)
    members, starts = [np.int64(0) for _ in range(0)], [np.int64(0)]
    for i in range(h):
        for j in range(w):
            if grouped[i, j]:
                continue
            for o in range(side * side):
                if near[o, i, j]:
                    a, b = i + o // side - window, j + o % side - window
                    members.append((top + a) * gw + left + b)
                    if 0 <= a < h and 0 <= b < w:
                        grouped[a, b] = True
            starts.append(len(members))
    return np.array(members), np.array(starts)


@kernel
def _squared_differences(x, i0, j0, di, dj, height, width, out):
    """out[i, j] = the sum over channels of (x[i0 + i, j0 + j] - x[i0 + i + di, j0 + j + dj])^2."""
    for i in range(height):
        for j in range(width):
            out[i, j] = 0
        for c in range(len(x)):
            a, b = x[c, i0 + i], x[c, i0 + i + di]
            for j in range(width):
                d = a[j0 + j] - b[j0 + j + dj]
                out[i, j] += d * d


@kernel
def _sums_over_squares(d2, size, height, width, sums):
    """d2[i, j] becomes the sum of d2[i : i + size, j : j + size]; sums is scratch."""
    for i in range(height):
        for j in range(width + size - 1):
            sums[i, j] = d2[i, j]
        for t in range(1, size):
            for j in range(width + size - 1):
                sums[i, j] += d2[i + t, j]
    for i in range(height):
        for j in range(width):
            d2[i, j] = sums[i, j]
        for t in range(1, size):
            for j in range(width):
                d2[i, j] += sums[i, j + t]


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


@kernel
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
