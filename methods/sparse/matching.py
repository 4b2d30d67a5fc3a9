"""The blocks most like each of a grid of reference blocks, searched for in a window around it, compiled by Numba.

A block is known by its place i * W + j, where (i, j) is its top left pixel in a picture W pixels wide.
"""

from __future__ import annotations

import numpy as np
from bench.methods.sparse.collaborative import compare
from bench.methods.sparse.compiled import do_in_parallel, inlined, kernel
from numpy.typing import NDArray

__all__ = ["grid", "similar_blocks"]

REFERENCE_ROWS = 2
"""rows of reference blocks that a thread compares before it asks for more"""


def grid(n: int, size: int, step: int) -> NDArray[np.intp]:
    """Where blocks begin along n pixels: 0, step, 2 step, ..., and the last place of all."""
    begin = np.arange(0, n - size + 1, step)
    return begin if begin[-1] == n - size else np.append(begin, n - size)


def similar_blocks(
    image: NDArray[np.float32], size: int, step: int, nearest: int, most: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The places of the `most` blocks nearest to each reference block, by the sum of squared differences.

    image    (H, W), at least as large as a block of size x size
    step     pixels between reference blocks along each axis (`grid`)
    nearest  pixels along each axis that a similar block is away at most
    returns  places (rows, columns, most), that of the reference block first, the others in no order that means
             anything; and how many there are, (rows, columns): fewer where the window holds no more
    """
    rows, columns = (grid(n, size, step) for n in image.shape)
    places = np.empty((len(rows), len(columns), most), np.int32)
    counts = np.empty((len(rows), len(columns)), np.int32)

    def search(a: int, b: int) -> None:
        _search(image, rows[a:b], columns, size, nearest, places[a:b], counts[a:b])

    do_in_parallel(search, len(rows), REFERENCE_ROWS)
    return places, counts


@kernel
def _search(image, rows, columns, size, nearest, places, counts):
    width, side, most = image.shape[1], 2 * nearest + 1, places.shape[2]
    distances = np.empty((len(columns), side * side), np.float32)
    heap, indices = np.empty(most - 1, np.float32), np.empty(most - 1, np.int64)
    for r in range(len(rows)):
        compare(image, rows[r], columns, size, nearest, distances)
        for c in range(len(columns)):
            own = rows[r] * width + columns[c]
            distances[c, nearest] = np.inf  # the block itself: no rows down, none across
            n = _smallest(distances[c], heap, indices)
            places[r, c, 0] = own
            for k in range(n):
                line, across = indices[k] // side, indices[k] % side - nearest
                down = (line + 1) // 2 * (-1 if line % 2 else 1)
                places[r, c, k + 1] = own + down * width + across
            counts[r, c] = n + 1


@inlined
def _smallest(x, heap, indices):
    """The indices of the smallest finite numbers of x, as many as the heap has room for at most; how many."""
    room, n = len(heap), 0
    if room == 0:
        return 0
    bound = np.float32(np.inf)
    for i in range(len(x)):
        if x[i] < bound:
            if n < room:
                heap[n], indices[n] = x[i], i
                n += 1
                if n == room:
                    for k in range(n // 2 - 1, -1, -1):
                        _sift(heap, indices, k, heap[k], indices[k])
                    bound = heap[0]
            else:
                _sift(heap, indices, 0, x[i], i)
                bound = heap[0]
    return n


@inlined
def _sift(heap, indices, k, value, index):
    """Put the value into the heap, the largest first, at k or below."""
    while True:
        child = 2 * k + 1
        if child + 1 < len(heap) and heap[child + 1] > heap[child]:
            child += 1
        if child >= len(heap) or heap[child] <= value:
            break
        heap[k], indices[k] = heap[child], indices[child]
        k = child
    heap[k], indices[k] = value, index
