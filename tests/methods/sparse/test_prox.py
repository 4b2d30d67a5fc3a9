"""Proximal operators, against the definition (Eq. 8) and against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.methods.sparse.prox import group_soft_threshold, relaxed_group_soft_threshold, soft_threshold
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("z", [-2.0, -0.3, 0.0, 0.3, 2.0])
def test_soft_threshold_minimises_its_own_definition(z):
    lmbda = 0.5
    u = torch.linspace(-3, 3, 60_001, dtype=torch.float64)
    objective = 0.5 * (u - z) ** 2 + lmbda * u.abs()
    answer = soft_threshold(torch.tensor(z, dtype=torch.float64), lmbda)
    assert float(answer) == pytest.approx(float(u[objective.argmin()]), abs=1e-4)


@pytest.mark.parametrize("row", [(0.2, -0.1), (1.5, -0.4), (0.0, 0.0), (-0.3, 0.4)])
def test_group_soft_threshold_minimises_its_own_definition(row):
    lmbda = 0.5
    axis = torch.linspace(-2, 2, 1001, dtype=torch.float64)  # every candidate for a row of two entries
    u = torch.cartesian_prod(axis, axis)
    U = torch.tensor([row], dtype=torch.float64)
    objective = 0.5 * (u - U).square().sum(1) + lmbda * u.norm(dim=1)
    torch.testing.assert_close(group_soft_threshold(U, lmbda)[0], u[objective.argmin()], rtol=0, atol=3e-3)


numbers = st.floats(-100, 100, width=32)
rows = st.lists(numbers, min_size=3, max_size=3)


@given(z=numbers, u=numbers, lmbda=st.floats(0, 50))
def test_no_other_number_has_a_lower_objective_than_the_soft_threshold(z, u, lmbda):
    def objective(u):
        return 0.5 * (u - z) ** 2 + lmbda * abs(u)

    answer = float(soft_threshold(torch.tensor(z, dtype=torch.float64), lmbda))
    assert objective(answer) <= objective(u) + 1e-9
    assert answer == pytest.approx(np.sign(z) * max(abs(z) - lmbda, 0), abs=1e-9)


@given(z=rows, u=rows, lmbda=st.floats(0, 50))
def test_no_other_row_has_a_lower_objective_than_the_group_soft_threshold(z, u, lmbda):
    z, u = torch.tensor([z, u], dtype=torch.float64)

    def objective(u):
        return float(0.5 * (u - z).square().sum() + lmbda * u.norm())

    answer = group_soft_threshold(z[None], lmbda)[0]
    assert objective(answer) <= objective(u) + 1e-9
    assert objective(answer) <= objective(answer + (u - answer) / 1e4) + 1e-9  # nor is one nearby better


def test_the_relaxation_is_lemma_1_where_similarities_mark_clusters():
    """Lemma 1 with lmbda sqrt(|S_i|), as the normalisation of Eq. 11 has it, cluster by cluster."""
    B = torch.randn(6, 5, dtype=torch.float64)  # codes of six patches
    Sigma = torch.block_diag(torch.ones(2, 2), torch.ones(4, 4)).double()
    ours = relaxed_group_soft_threshold(B, torch.full((5,), 0.7).double(), Sigma @ B**2, Sigma.sum(1, keepdim=True))
    for cluster in (slice(0, 2), slice(2, 6)):
        n = cluster.stop - cluster.start
        theirs = group_soft_threshold(B[cluster].T, 0.7 * n**0.5).T
        torch.testing.assert_close(ours[cluster], theirs, rtol=1e-6, atol=1e-6)


def test_a_patch_alone_is_shrunk_as_by_the_soft_threshold():
    B, lmbda = torch.randn(4, 5, dtype=torch.float64), torch.rand(5, dtype=torch.float64)
    alone = relaxed_group_soft_threshold(B, lmbda, B**2, torch.ones(4, 1).double())
    torch.testing.assert_close(alone, soft_threshold(B, lmbda), rtol=0, atol=1e-6)


def test_the_relaxation_has_the_gradients_of_its_formula():
    random = torch.Generator().manual_seed(0)
    B, norm2, mass = (torch.rand(n, m, generator=random).double() + 0.1 for n, m in ((3, 4), (3, 4), (3, 1)))
    lmbda = torch.rand(4, generator=random).double() / 2
    inputs = [x.requires_grad_() for x in (B, lmbda, norm2, mass)]
    assert torch.autograd.gradcheck(relaxed_group_soft_threshold, inputs)
