"""The patches most like each patch of an image, as `sparse.neighbours.nearest_patches`, tile by tile: compiled."""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.compiled import inlined, kernel

__all__ = ["ACROSS", "DOWN", "nearest"]

DOWN, ACROSS = 8, 32  # patches of a tile: their distances to 841 candidates stay in a core's second cache
TOGETHER = 16


@kernel
def nearest(x, size, k, radius, dilation, top, left, gh, gw, distances, candidates):
    """The k - 1 patches nearest to each of a tile's patches, itself left out, for k - 1 <= 2 radius + 1.

    x           (h, w): gh x gw patches of size x size pixels, `dilation` apart, with a border of radius * dilation
                above and to the left, and as much beyond the last tile
    top, left   the tile's first patch; DOWN x ACROSS of them, those beyond the grid are left out
    distances   (gh * gw, >= k - 1): the squared ones, ascending
    candidates  (gh * gw, k): the patch itself, then those. i * (2 radius + 1) + j is the one that begins i * dilation
                rows below the first that there is, and j * dilation columns to its right

    Candidates are dealt to 2 radius + 1 classes. As many classes as are wanted have one that is no farther than the
    bound, so no candidate beyond it is among the nearest; few are within it, and only these are sorted.
    """
    side, e, n = 2 * radius + 1, (size - 1) * dilation, DOWN * ACROSS
    itself = radius * side + radius
    line = ACROSS + e
    D = np.empty((side * side, n), np.float32)
    least = np.full((side, n), np.inf, np.float32)
    squares = np.zeros((DOWN + e) * line + e, np.float32)
    rows, sums = np.empty((DOWN + e) * line, np.float32), np.empty(DOWN * line, np.float32)
    for o in range(side * side):
        i, j = o // side, o % side
        for a in range(DOWN + e):
            here = x[top + radius * dilation + a, left + radius * dilation :]
            there = x[top + i * dilation + a, left + j * dilation :]
            row = squares[a * line :]
            for b in range(line):
                row[b] = (here[b] - there[b]) ** 2
        _add_up(squares, size, dilation, rows)
        _add_up(rows, size, dilation * line, sums)
        for a in range(DOWN):
            for b in range(ACROSS):
                D[o, a * ACROSS + b] = sums[a * line + b]
        of_all = D[o]
        if o == itself:
            of_all[:] = np.inf
        of_class = least[(j + 5 * i) % side]  # what is alike lies along lines, and these cross all classes
        for p in range(n):
            of_class[p] = min(of_class[p], of_all[p])

    bound = _smallest(least, k - 1)
    within, count = _within(D, bound)
    for p in range(n):
        row, column = top + p // ACROSS, left + p % ACROSS
        if row >= gh or column >= gw:
            continue
        found, d = candidates[row * gw + column], distances[row * gw + column]
        found[0] = itself
        n_found = 0
        for c in range(count[p]):
            o = within[p, c]
            new = D[o, p]
            if n_found == k - 1 and new >= d[k - 2]:
                continue
            t = min(n_found, k - 2)
            while t > 0 and d[t - 1] > new:
                d[t], found[t + 1] = d[t - 1], found[t]
                t -= 1
            d[t], found[t + 1] = new, o
            n_found = min(n_found + 1, k - 1)


@inlined
def _add_up(x, size, step, out):
    """out[b] <- x[b] + x[b + step] + ..., of `size` numbers, an odd number of them."""
    for b in range(len(out)):
        out[b] = x[b]
    for t in range(1, size, 2):
        first, second = x[t * step :], x[(t + 1) * step :]
        for b in range(len(out)):
            out[b] += first[b] + second[b]


@inlined
def _smallest(x, k):
    """The k-th smallest of each column of x (n_rows, n), which is changed."""
    kept = np.full((k, x.shape[1]), np.inf, np.float32)
    for c in range(len(x)):
        new = x[c]
        for t in range(k):
            old = kept[t]
            for p in range(len(new)):
                larger = max(old[p], new[p])
                old[p], new[p] = min(old[p], new[p]), larger
    return kept[k - 1]


@inlined
def _within(D, bound):
    """For each column of D (n_rows, n) the rows whose number is at most its bound, and how many these are."""
    n_rows, n = D.shape
    within, count = np.empty((n, n_rows), np.int16), np.zeros(n, np.int32)
    for o in range(n_rows):
        for first in range(0, n, TOGETHER):
            d, b = D[o, first : first + TOGETHER], bound[first : first + TOGETHER]
            some = 0
            for p in range(TOGETHER):
                some += d[p] <= b[p]
            if some:
                for p in range(TOGETHER):
                    if d[p] <= b[p]:
                        within[first + p, count[first + p]] = o
                        count[first + p] += 1
    return within, count
