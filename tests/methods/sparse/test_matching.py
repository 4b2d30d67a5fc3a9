"""Similar blocks are those that comparing each with each finds."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.sparse.matching import grid, similar_blocks


def by_comparing(image: np.ndarray, size: int, i: int, j: int, nearest: int, most: int) -> list[float]:
    """The least squared differences to the block at (i, j), its own left out."""
    H, W = image.shape
    block = image[i : i + size, j : j + size]
    found = [
        float(np.sum((image[a : a + size, b : b + size] - block) ** 2))
        for a in range(max(0, i - nearest), min(H - size, i + nearest) + 1)
        for b in range(max(0, j - nearest), min(W - size, j + nearest) + 1)
        if (a, b) != (i, j)
    ]
    return sorted(found)[: most - 1]


@pytest.mark.parametrize("shape", [(5, 5), (5, 9), (21, 24)], ids=str)
@pytest.mark.parametrize("most", [1, 2, 9])
def test_the_most_similar_blocks_are_found(shape, most):
    size, step, nearest = 5, 3, 4
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    rows, columns = (grid(n, size, step) for n in shape)
    places, counts = similar_blocks(image, size, step, nearest, most)
    for r, i in enumerate(rows):
        for c, j in enumerate(columns):
            own, *others = np.stack(np.divmod(places[r, c, : counts[r, c]], shape[1]), axis=1)
            assert tuple(own) == (i, j)
            assert all(np.abs(other - own).max() <= nearest for other in others)
            block = image[i : i + size, j : j + size]
            distances = [np.sum((image[a : a + size, b : b + size] - block) ** 2) for a, b in others]
            np.testing.assert_allclose(sorted(distances), by_comparing(image, size, i, j, nearest, most), rtol=1e-4)


def test_a_grid_ends_with_the_last_block():
    assert list(grid(10, 4, 3)) == [0, 3, 6]
    assert list(grid(11, 4, 3)) == [0, 3, 6, 7]
    assert list(grid(4, 4, 3)) == [0]
