"""Online dictionary learning."""

from __future__ import annotations

import pytest
import torch

from methods.sparse.dictionary import lasso, learn_dictionary, objective, sample_patches, unit_norm


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
