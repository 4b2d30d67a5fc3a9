"""The features around each pixel, weighted by a softmax of correlations, computed while all is in the caches."""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.compiled import inlined, kernel
from bench.methods.sparse.exponential import exp
from bench.methods.sparse.products import LANES, VECTORS, bits_of_float, float_of_bits, product

__all__ = ["AT_ONCE", "COLUMNS", "FEATURES", "TILE", "TOGETHER", "attend", "first"]

TILE = 4  # pixels side by side, whose correlations with those of another row are one small product
COLUMNS = 3 * LANES  # pixels of a row that have correlations with a tile's: a multiple of this
FEATURES = VECTORS * LANES  # of a pixel: a multiple of this
TOGETHER = 8  # tiles side by side that look at a row of pixels while it is in the first cache
AT_ONCE = 8  # rows of neighbours that they look at before their weights are wanted: these stay in the second cache

_correlations, _add_correlations = product(3, add=False), product(3, add=True)
_add_features = product(VECTORS, add=True)


@inlined
def first(i, n, q):
    """The first of the q neighbours, among n in a row, of i: near the border they are moved inwards."""
    return min(max(i - q // 2, 0), max(n - q, 0))


# A correlation that passes from state to state has 16 bits, which halves the memory they need. Held is how far it
# lies below the largest that its pixel has in some rows of neighbours, d + 1/32: of a float32 the last 4 bits of the
# exponent and the first 12 of the fraction, enough for d < 2047, where a weight is 0 long since. Rounding moves d by
# d/8192 + 4e-6 at most, and so a weight, e^-d, by less than 5e-5 of the largest.
NEAREST, FARTHEST = np.float32([2**-5, 2046])
SHORTER, LEAST, HALF = np.int32([11, (127 - 5) << 12, 1 << 10])
ZERO = np.float32(0)


@inlined
def short(d):
    """The 16 bits for how far a correlation lies below the largest; those above it, of no neighbours, become it."""
    return np.uint16(((bits_of_float(min(max(d, ZERO), FARTHEST) + NEAREST) + HALF) >> SHORTER) - LEAST)


@inlined
def long(short):
    """How far it lies below the largest."""
    return float_of_bits((np.int32(short) + LEAST) << SHORTER) - NEAREST


@kernel
def attend(S, largest, given, keep, thetas, psis, length, features, out, top, tiles, shape, q):
    """The weighted means of the features of the q x q pixels around each pixel of some rows and tiles.

    The weights are a softmax of S + the sum of theta_i psi_j. It is taken while the neighbours pass by, AT_ONCE rows
    at a time: where one is found that is larger than all before, what was summed is made as much smaller.

    S         (n_tiles * n_rows * n_h, TILE * n_c) correlations so far, `short`: those of a tile's pixels with n_c
              pixels from the first neighbour on, in each of its n_h rows of neighbours, in the order of their use
    largest   (n_rows, n_tiles, n, TILE) the largest of each pixel, every AT_ONCE rows of those around
    given     whether S and `largest` are that; if not, the correlations are 0 so far
    keep      whether they are to become those with theta_i psi_j
    thetas    (n,) addresses of (n_rows, n_tiles * TILE, length): n of them
    psis      (n, n_near) addresses of (length, width), one for each row of pixels around
    features  (n_near,) addresses of (width, n_features) likewise
    out       (n_rows, n_tiles * TILE, n_features): the answer
    top       the row of the image that the first row of S, thetas and out is; that of psis and features is its first
              neighbours' row
    tiles     the first and the last (exclusive) that are to be computed
    shape     (H, W, width): of the image; pixels beyond W are zero
    """
    H, W, width = shape
    n_rows, n_pixels, n_features = out.shape
    n_h, a_tile = min(q, H), S.shape[1]
    n_c = a_tile // TILE
    near, below = first(top, H, q), first(top + n_rows - 1, H, q) + n_h
    P = np.empty((n_rows, TOGETHER, AT_ONCE, a_tile), np.float32)  # correlations, then weights
    P_at, out_at = P.ctypes.data, out.ctypes.data
    highest = np.empty((n_rows, TOGETHER, TILE), np.float32)
    totals = np.empty((n_rows, TOGETHER, TILE), np.float32)
    outside = np.empty((TOGETHER, a_tile), np.float32)
    # memory of their own: the compiler sees that they do not overlap, and vectorises
    shift, most, total = np.empty(a_tile, np.float32), np.empty(a_tile, np.float32), np.empty(a_tile, np.float32)
    for left in range(tiles[0], tiles[1], TOGETHER):
        right = min(left + TOGETHER, tiles[1])
        for tile in range(left, right):
            _outside(tile, W, q, outside[tile - left])
        for row in range(n_rows):
            for pixel in range(left * TILE, right * TILE):
                for m in range(n_features):
                    out[row, pixel, m] = 0
            for t in range(TOGETHER):
                for p in range(TILE):
                    highest[row, t, p], totals[row, t, p] = -np.inf, 0
        at = left * n_rows * n_h  # in S
        for above in range(near, below, AT_ONCE):
            end, chunk = min(above + AT_ONCE, below), (above - near) // AT_ONCE
            start = at
            for row in range(n_rows if given else 0):
                a, b = _within(above, end, top + row, H, q)
                for tile in range(left, right) if a < b else range(0):
                    t, held = tile - left, S[at : at + b - a]
                    _lengthen(held, largest[row, tile, chunk], most, P[row, t, a - above : b - above])
                    at += b - a
            for k in range(len(thetas)):
                for j in range(above, end):
                    for row in range(n_rows):
                        n = j - first(top + row, H, q)
                        if n < 0 or n >= n_h:
                            continue
                        for tile in range(left, right):
                            t = tile - left
                            to = P_at + 4 * ((row * TOGETHER + t) * AT_ONCE + j - above) * a_tile
                            theta = thetas[k] + 4 * length * (row * n_pixels + tile * TILE)
                            psi = psis[k, j - near] + 4 * first(tile * TILE, W, q)
                            for c in range(0, n_c, COLUMNS):
                                if k == 0 and not given:
                                    _correlations(to + 4 * c, n_c, theta, length, psi + 4 * c, width, length)
                                else:
                                    _add_correlations(to + 4 * c, n_c, theta, length, psi + 4 * c, width, length)
            at = start
            for row in range(n_rows):
                a, b = _within(above, end, top + row, H, q)
                for tile in range(left, right) if a < b else range(0):
                    t, held = tile - left, S[at : at + b - a] if keep else S[:0]
                    weights = P[row, t, a - above : b - above]
                    sums = out[row, tile * TILE : (tile + 1) * TILE]
                    of_pixels = largest[row, tile, chunk] if keep else highest[row, t]
                    of_row = highest[row, t], totals[row, t]
                    _weigh(weights, outside[t], held, of_pixels, *of_row, sums, shift, most, total)
                    at += b - a
            for j in range(above, end):
                for m in range(0, n_features, FEATURES):
                    for row in range(n_rows):
                        n = j - first(top + row, H, q)
                        if n < 0 or n >= n_h:
                            continue
                        for tile in range(left, right):
                            weights_at = P_at + 4 * ((row * TOGETHER + tile - left) * AT_ONCE + j - above) * a_tile
                            to = out_at + 4 * (n_features * (row * n_pixels + tile * TILE) + m)
                            x = features[j - near] + 4 * (n_features * first(tile * TILE, W, q) + m)
                            _add_features(to, n_features, weights_at, n_c, x, n_features, n_c)
        for row in range(n_rows):
            for tile in range(left, right):
                for p in range(TILE):
                    share = 1 / totals[row, tile - left, p]
                    for m in range(n_features):
                        out[row, tile * TILE + p, m] *= share


@inlined
def _within(above, end, row, H, q):
    """Those of the rows above:end in which the pixels of `row` have neighbours."""
    n = first(row, H, q)
    return max(above, n), min(end, n + min(q, H))


@inlined
def _lengthen(S, largest, most, P):
    """P (n, TILE * n_c) = the correlations that S is short for; most (TILE * n_c,) is memory to work in."""
    n_c = S.shape[1] // TILE
    for p in range(TILE):
        most[p * n_c : (p + 1) * n_c] = largest[p]
    for n in range(len(S)):
        for x in range(len(most)):
            P[n, x] = most[x] - long(S[n, x])


@inlined
def _outside(tile, W, q, outside):
    """outside (TILE * n_c,): 0 where a column of neighbours is one of the pixel's, else minus infinity."""
    n_c = len(outside) // TILE
    for p in range(TILE):
        skipped = first(min(tile * TILE + p, W - 1), W, q) - first(tile * TILE, W, q)
        for c in range(n_c):
            outside[p * n_c + c] = 0 if skipped <= c < skipped + min(q, W) else -np.inf


@inlined
def _weigh(P, outside, S, largest, highest, totals, sums, shift, most, total):
    """P <- the exponentials of P + outside, less the largest of each pixel so far.

    P         (n, TILE * n_c) correlations, as outside (TILE * n_c,) all pixels of a tile in a loop: it is vectorised
    S         (n, TILE * n_c) where they are to be kept, `short`; empty if they are not, and `largest` is not written
    largest   (TILE,) becomes the largest of each pixel in P
    highest   (TILE,) the largest so far, brought up to date, as are totals (TILE,), the sums of all exponentials, and
              sums (TILE, n_features), those of what they weigh
    shift, most, total  (TILE * n_c,) memory to work in
    """
    n_c = len(outside) // TILE
    for x in range(len(outside)):
        shift[x], most[x], total[x] = outside[x], P[0, x] + outside[x], 0
    for n in range(1, len(P)):
        for x in range(len(outside)):
            most[x] = max(most[x], P[n, x] + shift[x])
    for p in range(TILE):
        of_these = np.float32(-np.inf)
        for x in range(p * n_c, (p + 1) * n_c):
            of_these = max(of_these, most[x])
        for x in range(p * n_c, (p + 1) * n_c):
            most[x] = of_these
        new = max(highest[p], of_these)
        if new > highest[p]:
            less = exp(highest[p] - new)
            totals[p] *= less
            for m in range(sums.shape[1]):
                sums[p, m] *= less
            highest[p] = new
        for x in range(p * n_c, (p + 1) * n_c):
            shift[x] -= new
        if len(S):
            largest[p] = of_these
    for n in range(len(S)):
        for x in range(len(outside)):
            S[n, x] = short(most[x] - P[n, x])
    for n in range(len(P)):
        for x in range(len(outside)):
            P[n, x] = exp(P[n, x] + shift[x])
        for x in range(len(outside)):
            total[x] += P[n, x]
    for p in range(TILE):
        of_pixel = totals[p]
        for x in range(p * n_c, (p + 1) * n_c):
            of_pixel += total[x]
        totals[p] = of_pixel
