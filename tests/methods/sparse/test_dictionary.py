"""Dictionaries: online learning, the over-complete DCT, K-SVD."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.methods.sparse import dictionary
from bench.methods.sparse.codes import Codes
from bench.methods.sparse.dictionary import (
    _sweep,
    _update_atoms,
    adapt_online,
    ksvd,
    lasso,
    learn_dictionary,
    objective,
    overcomplete_dct,
    sample_patches,
    unit_norm,
)
from bench.methods.sparse.lasso import lasso_path


@pytest.fixture(scope="module")
def Y():
    """Patches that a dictionary of 20 atoms makes, 3 of them at a time."""
    random = torch.Generator().manual_seed(0)
    atoms = torch.randn(16, 20, generator=random)
    codes = torch.randn(3000, 20, generator=random)
    codes[codes.abs().argsort(1).argsort(1) < 17] = 0
    return codes @ (atoms / atoms.norm(dim=0)).T


def test_learning_lowers_the_objective_and_more_batches_lower_it_more(Y):
    patches = unit_norm(Y)[:300]
    values = [objective(patches, learn_dictionary(Y, 20, n_batches=n, lmbda=0.1), 0.1) for n in (0, 5, 40)]
    assert values[0] > 1.1 * values[1]
    assert values[1] > values[2]


def test_atoms_have_norm_1(Y):
    norms = learn_dictionary(Y, 20, n_batches=10).norm(dim=0)
    assert (norms <= 1 + 1e-5).all()
    assert (norms > 0.99).all()


def test_the_past_is_forgotten_batch_t_of_T_counting_t_over_T_squared(monkeypatch, Y):
    """ODL, Sec. 3.4.1: batch s leaves (1 - 1/s)^2 of the past, and the product over s = t + 1, ..., T is (t/T)^2."""
    seen = []
    monkeypatch.setattr(dictionary, "lasso", lambda batch, D, lmbda: torch.ones(len(batch), D.shape[1]))
    monkeypatch.setattr(dictionary, "_update", lambda D, A, B: seen.append(A[0, 0].item()))
    learn_dictionary(Y, 20, n_batches=4)
    assert seen[-1] == pytest.approx((1 + 4 + 9 + 16) / 16)


def test_an_atom_that_is_never_used_starts_again_from_a_patch(monkeypatch, Y):
    def without_atom_0(batch, D, lmbda):
        codes = lasso(batch, D, lmbda)
        codes[:, 0] = 0
        return codes

    monkeypatch.setattr(dictionary, "lasso", without_atom_0)
    before, after = (learn_dictionary(Y, 20, n_batches=n)[:, 0] for n in (0, 1))
    patches = unit_norm(Y)
    assert (patches @ after).max() == pytest.approx(1, abs=1e-6)
    assert before @ after < 0.99


def test_the_seed_decides(Y):
    D = learn_dictionary(Y, 20, n_batches=5, seed=1)
    assert torch.equal(D, learn_dictionary(Y, 20, n_batches=5, seed=1))
    assert not torch.equal(D, learn_dictionary(Y, 20, n_batches=5, seed=2))


def test_lasso_satisfies_the_optimality_conditions():
    lmbda = 0.1
    Y, D = torch.randn(5, 8, dtype=torch.float64), torch.randn(8, 12, dtype=torch.float64)
    alpha = lasso(Y, D, lmbda, n_steps=5_000)
    correlation = (Y - alpha @ D.T) @ D  # lmbda sign(alpha) where alpha is not 0, at most lmbda elsewhere
    assert correlation.abs().max() < lmbda + 1e-4
    used = alpha != 0
    torch.testing.assert_close(correlation[used], lmbda * alpha[used].sign(), rtol=0, atol=1e-4)


def test_sampled_patches_are_centred_patches_of_the_images():
    x = torch.rand(3, 1, 10, 12)
    patches = sample_patches(x, 4, 50)
    assert patches.shape == (50, 16)
    torch.testing.assert_close(patches.mean(1), torch.zeros(50), rtol=0, atol=1e-6)
    assert torch.equal(patches, sample_patches(x, 4, 50))


# --- on NumPy arrays ---


@pytest.fixture(scope="module")
def sparse_signals():
    """800 signals (float64) of 2 out of 24 atoms each, the atoms (16, 24), and a start for learning them."""
    rng = np.random.default_rng(0)
    D = rng.normal(size=(16, 24))
    D /= np.linalg.norm(D, axis=0)
    A = rng.normal(size=(800, 24)) * (rng.random((800, 24)).argsort(1) < 2)
    start = rng.normal(size=(16, 24))
    return A @ D.T, D, start / np.linalg.norm(start, axis=0)


def test_the_over_complete_dct_is_what_its_formula_says():
    D = overcomplete_dct(8, 16)
    assert D.shape == (64, 256)
    np.testing.assert_allclose(np.linalg.norm(D, axis=0), 1)
    np.testing.assert_allclose(D[:, 0], 1 / 8)
    np.testing.assert_allclose(D[:, 1:].sum(0), 0, atol=1e-12)  # all but the first are free of a mean
    wave = np.cos(3 * np.pi * np.arange(8) / 16)
    wave -= wave.mean()
    np.testing.assert_allclose(D[:, 3], np.tile(wave / np.linalg.norm(wave), 8) / 8**0.5)


@pytest.mark.parametrize("exact", [True, False])
def test_ksvd_finds_the_atoms_that_made_the_signals(sparse_signals, exact):
    Y, D, start = sparse_signals
    found = ksvd(Y, start, error=0.0, max_atoms=2, n_iters=40, exact=exact)
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), 1)
    nearest = np.abs(D.T @ found).max(1)
    assert (nearest > 0.99).sum() >= 22  # the paper's criterion of an atom found


def test_the_exact_update_of_an_atom_is_the_best_of_rank_1():
    rng = np.random.default_rng(0)
    E = rng.normal(size=(30, 8))  # what the atom has to explain: D_T[0] explains none of it yet
    D_T = np.eye(2, 8)
    values = np.zeros((30, 1))
    R = E.copy()
    unused = _update_atoms(D_T, values, R, np.arange(30), np.array([0, 30, 30]), np.arange(2), True)
    U, S, V = np.linalg.svd(E)
    assert list(unused) == [False, True]
    assert abs(D_T[0] @ V[0]) == pytest.approx(1, abs=1e-7)
    np.testing.assert_allclose(np.abs(values[:, 0]), np.abs(U[:, 0] * S[0]), atol=1e-3)
    np.testing.assert_allclose(R, E - np.outer(values, D_T[0]), atol=1e-12)


def test_ksvd_replaces_atoms_that_nobody_uses_or_that_are_alike(sparse_signals):
    Y, _, start = sparse_signals
    start = start.copy()
    start[:, 1] = start[:, 0]
    D = ksvd(Y, start, error=0.0, max_atoms=2, n_iters=1)
    G = np.abs(D.T @ D) - np.eye(24)
    assert G.max() <= 0.99
    alone = ksvd(Y[:1], start, error=0.0, max_atoms=1, n_iters=1)  # one signal: the rest of the atoms has no users
    assert np.isfinite(alone).all()


def test_ksvd_replaces_an_atom_of_three_users_by_the_worst_coded_signal_and_keeps_one_of_four():
    users = [3, 4, 50, 50, 50, 50, 50, 50]
    Y = np.repeat(np.eye(8), users, axis=0) * np.random.default_rng(0).uniform(1, 2, (sum(users), 1))
    odd = np.array([0, 0, 3, 3, 3, 3, 3, 2.9])  # no atom is like it
    D = ksvd(np.vstack([Y, odd]), np.eye(8), error=0.0, max_atoms=1, n_iters=1)
    np.testing.assert_allclose(D[:, 0], odd / np.linalg.norm(odd))
    np.testing.assert_allclose(np.abs(D[:, 1]), np.eye(8)[1], atol=1e-9)


def test_ksvd_of_signals_that_need_no_atom_leaves_the_dictionary():
    start = overcomplete_dct(4, 5)
    assert np.array_equal(ksvd(np.zeros((50, 16)), start, error=1.0, n_iters=3), start)


def test_adapting_online_lowers_the_l1_norm_that_the_error_costs(sparse_signals):
    Y, D, start = sparse_signals

    def l1_norm(D):
        return np.abs(lasso_path(Y, D, error=0.1).values).sum(1).mean()

    adapted = [adapt_online(Y, start, error=0.1, n_passes=n, batch_size=100) for n in (0, 1, 20)]
    assert np.array_equal(adapted[0], start)
    norms = [l1_norm(D) for D in adapted]
    assert norms[0] > 1.1 * norms[1]
    assert norms[1] > 1.1 * norms[2]
    assert norms[2] > l1_norm(D)  # of the atoms that made the signals
    assert (np.linalg.norm(adapted[2], axis=0) <= 1 + 1e-9).all()


@pytest.mark.parametrize(("rho", "weights"), [(1.0, [1 / 4, 2 / 4, 3 / 4, 1]), (2.0, [1 / 16, 4 / 16, 9 / 16, 1])])
def test_adapting_online_forgets_the_past_batch_t_of_T_counting_t_over_T_to_the_rho(monkeypatch, rho, weights):
    seen = []

    def one_atom_of_1(Y, D, *, error):
        return Codes(np.zeros((len(Y), 1), np.int32), np.ones((len(Y), 1)), np.ones(len(Y), np.int32))

    monkeypatch.setattr(dictionary, "lasso_path", one_atom_of_1)
    monkeypatch.setattr(dictionary, "_sweep", lambda D_T, A, B: seen.append(A[0, 0]))
    adapt_online(np.ones((40, 3)), np.eye(3), error=0.0, n_passes=1, batch_size=10, rho=rho)
    assert seen[-1] == pytest.approx(10 * sum(weights))


def test_a_sweep_minimises_over_each_atom_in_turn():
    rng = np.random.default_rng(0)
    A, D = rng.normal(size=(200, 6)), rng.normal(size=(4, 6)) / 9
    Y = rng.normal(size=(200, 4)) / 9
    expected = D.copy()
    for j in range(6):  # least squares for one atom, the others fixed; small signals keep it inside the unit ball
        rest = Y - A @ expected.T + np.outer(A[:, j], expected[:, j])
        expected[:, j] = A[:, j] @ rest / (A[:, j] @ A[:, j])
    D_T = np.ascontiguousarray(D.T)
    _sweep(D_T, A.T @ A, A.T @ Y)
    np.testing.assert_allclose(D_T.T, expected, atol=1e-12)
