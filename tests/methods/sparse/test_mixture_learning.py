"""Expectation maximisation, against sums over all responsibilities, and on patches whose mixture is known."""

from __future__ import annotations

import numpy as np
import pytest
from bench.methods.sparse.mixture import pack
from bench.methods.sparse.mixture_learning import Learner, statistics


def drawn(N: int, covariances: np.ndarray, priors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patches with means of their own, and the component of each."""
    rng, m = np.random.default_rng(0), covariances.shape[1]
    which = rng.choice(len(priors), N, p=priors)
    roots = np.linalg.cholesky(covariances + 1e-12 * np.eye(m))
    Y = np.einsum("nij,nj->ni", roots[which], rng.normal(size=(N, m)))
    return (Y + rng.random((N, 1))).astype(np.float32), which


def without_mean(C: np.ndarray) -> np.ndarray:
    P = np.eye(C.shape[-1]) - 1 / C.shape[-1]
    return P @ C @ P


@pytest.fixture(scope="module")
def two():
    """A flat and a busy component, which few patches could be of either."""
    A = np.random.default_rng(1).normal(size=(2, 4, 4))
    return np.array([0.7, 0.3]), without_mean(A @ A.transpose(0, 2, 1) * np.array([1e-4, 0.05])[:, None, None])


def test_statistics_are_means_of_responsibilities_and_of_products(two):
    rng = np.random.default_rng(2)
    priors, A = np.array([0.25, 0.6, 0.15]), rng.normal(size=(3, 4, 4))
    C = A @ A.transpose(0, 2, 1) + 0.1 * np.eye(4)
    U = rng.normal(size=(1100, 4)).astype(np.float32)
    forms = np.einsum("ni,kij,nj->nk", U, np.linalg.inv(C), U)
    densities = priors * np.exp(-0.5 * forms) / np.sqrt(np.linalg.det(2 * np.pi * C))
    r = densities / densities.sum(1, keepdims=True)
    found, log_likelihood = statistics(U, priors, C)
    assert log_likelihood == pytest.approx(np.log(densities.sum(1)).mean(), abs=1e-5)
    np.testing.assert_allclose(found.counts, r.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.scatter, pack(np.einsum("nk,ni,nj->kij", r, U, U)) / len(U), atol=1e-5)


def test_a_mixture_is_found_again_from_its_patches(two):
    priors, covariances = two
    learner = Learner(drawn(20_000, covariances, priors)[0], 2, batch=4000)
    known, path = None, []
    for step in range(1, 41):
        known, mean = learner.update(step, known)
        path.append(mean)
    found_priors, found = learner.mixture(known)
    order = np.argsort(np.trace(found, axis1=1, axis2=2))
    np.testing.assert_allclose(found_priors[order], priors, atol=0.02)
    for k in range(2):
        assert np.linalg.norm(found[order[k]] - covariances[k]) < 0.05 * np.linalg.norm(covariances[k])
    np.testing.assert_allclose(found.sum(2), 0, atol=1e-6)
    assert path[-1] > path[0] + 0.5


def test_the_likelihood_of_one_gaussian_is_that_of_its_covariance(two):
    """In nats, of patches less their means, in the 3 dimensions that are left: log det 2 pi e C / 2."""
    _, covariances = two
    Y = drawn(30_000, covariances[1:], np.ones(1))[0]
    learner = Learner(Y, 1, batch=30_000)
    known, _ = learner.update(1, None)
    _, log_likelihood = learner.update(2, known)
    values = np.linalg.eigvalsh(covariances[1])[1:]
    assert log_likelihood == pytest.approx(-0.5 * np.log(2 * np.pi * np.e * values).sum(), abs=0.03)


def test_what_was_interrupted_goes_on_to_the_same(two):
    priors, covariances = two
    Y = drawn(3000, covariances, priors)[0]
    first, _ = Learner(Y, 2, batch=500).update(1, None)
    learner = Learner(Y, 2, batch=500)
    at_once, _ = learner.update(2, learner.update(1, None)[0])
    later, _ = Learner(Y, 2, batch=500).update(2, first)
    for one, other in zip(at_once, later, strict=True):
        assert np.array_equal(one, other)


def test_equal_patches_leave_a_covariance_that_can_be_inverted():
    Y = np.repeat(np.random.default_rng(0).random((4, 4)).astype(np.float32), 50, axis=0)
    Y = np.concatenate([Y, np.random.default_rng(1).random((50, 4)).astype(np.float32)])
    learner, known = Learner(Y, 3, batch=200), None
    for step in range(1, 8):
        known, mean = learner.update(step, known)
        assert np.isfinite(mean)
    priors, covariances = learner.mixture(known)
    assert np.isfinite(covariances).all()
    assert np.linalg.eigvalsh(covariances.astype(np.float64))[:, 1].min() > 0.9e-6  # the floor; [:, 0] is of the mean
    assert priors.sum() == pytest.approx(1)
