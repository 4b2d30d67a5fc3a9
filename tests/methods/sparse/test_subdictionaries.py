"""Bases of patches by their kind: k-means, principal components, and which patches are flat."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.sparse import subdictionaries
from bench.methods.sparse.collaborative import dct
from bench.methods.sparse.subdictionaries import clustered, learned, nearest, principal_components

LEVEL = {"size": 5, "sigma": 4.0, "blur": 2.0, "smallest": 60}


def stripes(height: int, width: int) -> np.ndarray:
    """Upright and lying stripes, and a flat field below them, with noise of sigma 4."""
    i, j = np.mgrid[:height, :width]
    x = 128 + 60 * np.where(j < width // 2, np.sin(i), np.sin(j)) * (i < height // 2)
    return (x + np.random.default_rng(0).normal(0, 4, x.shape)).astype(np.float32)


@pytest.mark.parametrize("m", [1, 2, 36, 81])
def test_principal_components_are_the_eigenvectors_of_the_covariance(m):
    Y = (np.random.default_rng(0).normal(size=(300, m)) * np.linspace(1, 30, m) + 100).astype(np.float32)
    U = principal_components(Y)
    np.testing.assert_allclose(U.T @ U, np.eye(m), atol=1e-12)
    in_U = U.T @ np.cov(Y.astype(np.float64).T, bias=True).reshape(m, m) @ U
    eigenvalues = np.linalg.eigvalsh(np.cov(Y.astype(np.float64).T, bias=True).reshape(m, m))
    np.testing.assert_allclose(in_U, np.diag(np.diag(in_U)), atol=1e-6 * eigenvalues.max())
    np.testing.assert_allclose(np.sort(np.diag(in_U)), eigenvalues, rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_of_few_patches_too_the_basis_is_orthonormal(n):
    U = principal_components(np.random.default_rng(0).normal(size=(n, 9)).astype(np.float32))
    np.testing.assert_allclose(U.T @ U, np.eye(9), atol=1e-12)


@pytest.mark.parametrize("k", [1, 5, 70])
def test_the_nearest_centre_is_found(k):
    random = np.random.default_rng(0)
    Y, centres = random.normal(size=(200, 9)).astype(np.float32), random.normal(size=(k, 9)).astype(np.float32)
    distances = np.sum((Y[:, None] - centres) ** 2, axis=2)
    assert np.array_equal(nearest(Y, centres), distances.argmin(axis=1))


def test_clusters_end_where_k_means_moves_no_more():
    random = np.random.default_rng(0)
    where = 100 * random.normal(size=(4, 9))
    Y = (where[np.arange(400) % 4] + random.normal(size=(400, 9))).astype(np.float32)
    centres, labels = clustered(Y, smallest=10)
    for k in np.unique(labels):
        np.testing.assert_allclose(centres[k], Y[labels == k].mean(axis=0), rtol=1e-3, atol=1e-3)
        assert len(np.unique(np.flatnonzero(labels == k) % 4)) == 1  # no cluster has of two heaps


def test_clusters_that_are_too_small_are_given_up_down_to_forty():
    Y = np.random.default_rng(0).normal(size=(70 * 30, 9)).astype(np.float32)
    centres, labels = clustered(Y, smallest=30)
    counts = np.bincount(labels)
    assert 40 <= len(centres) == len(counts) < 70
    assert counts.min() > 15


def test_clusters_are_fewer_where_there_is_little_to_learn_from():
    Y = np.random.default_rng(0).normal(size=(90, 9)).astype(np.float32)
    assert len(clustered(Y, smallest=30)[0]) == 3
    assert len(clustered(Y[:1], smallest=30)[0]) == 1
    assert len(clustered(Y[:0], smallest=30)[0]) == 0


def test_kinds_tell_flat_patches_and_directions_apart():
    bases, kinds = learned(stripes(48, 64), **LEVEL)
    upper, below = kinds[:18], kinds[26:]
    assert np.all(below == 0)
    assert np.all(upper[:, :26] > 0)
    assert np.all(upper[:, 34:] > 0)
    assert not {*upper[:, :26].flat} & {*upper[:, 34:].flat}
    assert np.all(bases[:, :, 25:] == 0)
    for B in bases[:, :, :25]:
        np.testing.assert_allclose(B.T @ B, np.eye(25), atol=1e-5)


def test_few_flat_patches_have_the_dct():
    bases, kinds = learned(stripes(20, 64)[:10], **LEVEL)
    assert np.count_nonzero(kinds == 0) < 60
    np.testing.assert_allclose(bases[0, :, :25], np.kron(dct(5), dct(5)).T, atol=1e-6)


def test_what_stands_out_where_nothing_was_learned_from_it_is_taken_for_flat(monkeypatch):
    x = np.full((40, 40), 100, np.float32)
    x[-1, -1] = 255
    monkeypatch.setattr(subdictionaries, "SAMPLE", 100)
    bases, kinds = learned(x, **LEVEL)
    assert len(bases) == 1
    assert not kinds.any()


def test_threads_change_nothing(monkeypatch):
    x, answers = stripes(40, 48), []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        answers.append(learned(x, **LEVEL))
    for one, other in zip(*answers, strict=True):
        assert np.array_equal(one, other)
