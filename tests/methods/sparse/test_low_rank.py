"""The weighted nuclear norm's minimiser, against NumPy's singular value decomposition and the definition itself."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.sparse.low_rank import padded, shrink


def in_lanes(A: np.ndarray) -> np.ndarray:
    """A with zeros to the end of its rows, as the kernels take it."""
    return np.pad(A, [(0, 0), (0, padded(A.shape[1]) - A.shape[1])])


def shrunk(Y: np.ndarray, weight: float) -> tuple[np.ndarray, int]:
    r, c = Y.shape
    X = np.full((r, padded(c)), np.nan, np.float32)
    rank = shrink(in_lanes(Y), in_lanes(np.ascontiguousarray(Y.T)), r, c, weight, X)
    return X[:, :c], rank


def by_svd(Y: np.ndarray, weight: float) -> tuple[np.ndarray, int]:
    U, s, V = np.linalg.svd(Y.astype(np.float64), full_matrices=False)
    root = s**2 - 4 * weight
    kept = np.where(root >= 0, (s + np.sqrt(np.maximum(root, 0))) / 2, 0)
    return (U * kept) @ V, np.count_nonzero(kept)


def noisy_matrix(r: int, c: int, rank: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    Y = 10 * rng.normal(size=(r, rank)) @ rng.normal(size=(rank, c)) + rng.normal(size=(r, c))
    return Y.astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 5), (16, 16), (30, 49), (49, 80), (70, 108)], ids=str)
@pytest.mark.parametrize("weight", [1e-3, 5.0, 25.0, 1e9])
def test_it_is_what_the_singular_values_say(shape, weight):
    Y = noisy_matrix(*shape, rank=min(3, shape[0]))
    X, rank = shrunk(Y, weight)
    expected, expected_rank = by_svd(Y, weight)
    assert rank == expected_rank
    np.testing.assert_allclose(X, expected, atol=1e-4 * np.abs(Y).max())  # the Gram matrix is of float32


def test_a_singular_value_is_where_reweighting_after_reweighting_ends():
    weight, s = 3.0, 5.0
    x = s
    for _ in range(200):
        x = s - weight / x  # argmin_x 1/2 (s - x)^2 + w x for w = weight / x
    X, _ = shrunk(np.array([[s]], np.float32), weight)
    assert X[0, 0] == pytest.approx(x, rel=1e-6)


@pytest.mark.parametrize(
    "Y", [np.zeros((9, 12)), np.ones((9, 12)), np.eye(9, 12), 200 * np.eye(33, 40)], ids=[*"abcd"]
)
def test_singular_values_may_be_zero_or_alike(Y):
    Y = Y.astype(np.float32)
    X, rank = shrunk(Y, 0.1)
    expected, expected_rank = by_svd(Y, 0.1)
    assert rank == expected_rank
    np.testing.assert_allclose(X, expected, atol=1e-5 * max(1, Y.max()))
