"""NL-Ridge's groups against the papers' equations in NumPy, and what they do where those have no answer."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.sparse import ridge

SIGMA = np.array([10.0])


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 10, shape).astype(np.float32)


def theta(X: np.ndarray, tau: float, is_known: bool) -> np.ndarray:
    """argmin over Theta (k, k), whose columns sum to 1, of the error, or of Stein's estimate of it; X is (n, k).

    Of ||X Theta - X||^2 + tau ||Theta||^2, and of ||X Theta - X||^2 + 2 tau trace(Theta): Lagrange's conditions.
    """
    k, G = X.shape[1], X.T @ X
    M = G + tau * np.eye(k) if is_known else G
    right = G if is_known else G - tau * np.eye(k)
    conditions = np.block([[M, np.ones((k, 1))], [np.ones((1, k)), np.zeros((1, 1))]])
    return np.linalg.solve(conditions, np.vstack([right, np.ones((1, k))]))[:k]


@pytest.mark.parametrize("is_known", [False, True], ids=["stein", "pilot"])
def test_one_group_is_what_the_equations_say(is_known):
    """In a picture 4 pixels high all 5 patches are one group. Each channel has its own weights."""
    y, pilot = 100 + noise(2, 4, 8), (100 + noise(2, 4, 8, seed=1)) if is_known else None
    sigma = np.array([10.0, 5.0])
    x_hat = ridge.combined(y, sigma, size=4, k=5, step=9, nearest=8, pilot=pilot)
    for c in range(2):
        X = patches((y if pilot is None else pilot)[c])
        Theta = theta(X, 16 * sigma[c] ** 2, is_known)
        total, weights = np.zeros((4, 8)), np.zeros(8)
        for j, (estimate, column) in enumerate(zip((patches(y[c]) @ Theta).T, Theta.T, strict=True)):
            weight = 1 / (column @ column)
            total[:, j : j + 4] += weight * estimate.reshape(4, 4)
            weights[j : j + 4] += weight
        np.testing.assert_allclose(x_hat[c], total / weights, rtol=1e-4)


def patches(x: np.ndarray) -> np.ndarray:
    """Those of x (4, 8), as columns (16, 5)."""
    return np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (4, 4))[0].reshape(5, 16).T


def test_estimates_follow_a_constant_that_is_added():
    y = noise(1, 20, 24)
    groups = {"size": 5, "k": 9, "step": 3, "nearest": 6}
    moved = ridge.combined(y + 1000, SIGMA, **groups)
    np.testing.assert_allclose(moved - 1000, ridge.combined(y, SIGMA, **groups), atol=0.01)


def test_threads_change_nothing(monkeypatch):
    y, answers = noise(1, 40, 40), []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        answers.append(ridge.combined(y, SIGMA, size=5, k=9, step=3, nearest=6))
    assert np.array_equal(*answers)


def test_patches_that_repeat_exactly_have_an_answer_near_them():
    """Stein's estimate has none where patches depend on each other, which noise never makes them."""
    y = np.tile(np.kron(np.eye(2), np.full((6, 6), 255.0)), (3, 3)).astype(np.float32)[None]
    x_hat = ridge.combined(y, 2.5 * SIGMA, size=5, k=9, step=3, nearest=12)
    assert np.abs(x_hat - y).max() < 5


@pytest.mark.parametrize("sigma", [1e-3, 0.1])
def test_hardly_any_noise_hardly_changes_anything(sigma):
    y = noise(1, 24, 24)
    x_hat = ridge.combined(y, np.array([sigma]), size=5, k=9, step=3, nearest=6)
    assert np.sqrt(np.mean((x_hat - y) ** 2)) < 1.1 * sigma
