"""The steps that training runs are those of the paper, and so are their gradients."""

from __future__ import annotations

import pytest
import torch
from bench.methods.networks import unrolled
from bench.methods.networks.lista import gradient_step
from bench.methods.networks.on_gpu import dense_similarity, steps_on_gpu
from bench.methods.networks.similarity import Similarity
from bench.methods.networks.unrolled import steps
from bench.methods.sparse.prox import relaxed_group_soft_threshold, soft_threshold

GRID, M_, P, K = (2, 5, 6), 8, 7, 3


def problem(dtype=torch.float64, seed=0):
    """Codes, centred patches, C, D, thresholds, weights of the distance, a mask."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=dtype)

    mask = (torch.rand(*GRID, M_, generator=random) < 0.7).to(dtype)
    D = normal(M_, P) / 6
    C, kappa = D + normal(M_, P) / 30, normal(M_) / 4
    return normal(*GRID, P), normal(*GRID, M_), C, D, normal(K, P).abs() / 4, kappa, mask


def as_the_paper_writes_it(alpha, y, C, D, lmbda, M=None, Sigma=None):
    for lmbda_k in lmbda:
        B = gradient_step(alpha, y, C, D, M)
        if Sigma is None:
            alpha = soft_threshold(B, lmbda_k)
        else:
            alpha = relaxed_group_soft_threshold(B, lmbda_k, Sigma.sum(B * B), Sigma.mass)
    return alpha


@pytest.mark.parametrize("window", [0, 3, 4])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("from_zero", [False, True])
def test_several_steps_at_once_are_the_steps_one_by_one_and_so_are_their_gradients(window, masked, from_zero):
    alpha, y, C, D, lmbda, kappa, M = problem()
    alpha, M = None if from_zero else alpha, M if masked else None
    leaves = [x.requires_grad_() for x in (alpha, C, D, lmbda, kappa) if x is not None and (window or x is not kappa)]
    weight = torch.cos(torch.arange(P, dtype=y.dtype))
    results = []
    for run in (steps, as_the_paper_writes_it):
        Sigma = Similarity.of(y * kappa, window, 2, y.dtype) if window else None
        codes = run(alpha, y, C, D, lmbda, M, Sigma)
        results.append([codes, *torch.autograd.grad((codes * weight).square().sum(), leaves)])
    assert any((gradient != 0).all() for gradient in results[0])
    for ours, papers in zip(*results, strict=True):
        torch.testing.assert_close(ours, papers, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("from_zero", [False, True])
def test_patches_that_go_through_the_steps_a_few_at_a_time_are_all_there(masked, from_zero, monkeypatch):
    alpha, y, C, D, lmbda, _, M = problem()
    alpha, M = None if from_zero else alpha, M if masked else None
    leaves = [x.requires_grad_() for x in (alpha, C, D, lmbda) if x is not None]
    results = []
    for at_a_time in (10**6, 7):
        monkeypatch.setattr(unrolled, "CACHED", at_a_time)
        codes = steps(alpha, y, C, D, lmbda, M)
        results.append([codes, *torch.autograd.grad(codes.square().sum(), leaves)])
    for all_at_once, few in zip(*results, strict=True):
        torch.testing.assert_close(few, all_at_once, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("window", [0, 3])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("from_zero", [False, True])
def test_what_a_gpu_trains_with_is_the_same(window, masked, from_zero):
    alpha, y, C, D, lmbda, kappa, M = problem()
    alpha, M = None if from_zero else alpha.requires_grad_(), M if masked else None
    y, C, D = y[..., :-1], C[:-1], D[:-1]  # rows that need to be filled up
    M, kappa = None if M is None else M[..., :-1], kappa[:-1]
    leaves = [x.clone().requires_grad_() for x in (C, D, lmbda, kappa)]
    C, D, lmbda, kappa = leaves
    leaves = [*(leaves if window else leaves[:3]), *([] if from_zero else [alpha])]
    Sigma = Similarity.of(y * kappa, window, max(GRID), y.dtype) if window else None
    S, mass = None, None
    if window:
        (tile,) = Sigma.tiles
        S, mass = dense_similarity(y * kappa, tile.penalty(window, y), y.dtype)
    results = []
    for codes in (
        steps_on_gpu(alpha, y, C, D, lmbda, M, S, mass, y.dtype, training=True),
        as_the_paper_writes_it(alpha, y, C, D, lmbda, M, Sigma),
    ):
        results.append([codes, *torch.autograd.grad(codes.square().sum(), leaves, retain_graph=True)])
    for ours, papers in zip(*results, strict=True):
        torch.testing.assert_close(ours, papers, rtol=1e-9, atol=1e-9)


def test_without_gradients_the_codes_are_the_same():
    alpha, y, C, D, lmbda, kappa, _ = problem(torch.float32)
    Sigma = Similarity.of(y * kappa, 3, 2, y.dtype)
    with_gradients = steps(alpha, y, C.requires_grad_(), D, lmbda, None, Sigma)
    with torch.no_grad():
        assert torch.equal(steps(alpha, y, C, D, lmbda, None, Sigma), with_gradients)


def test_a_negative_threshold_is_treated_as_the_authors_do():
    _, y, C, D, lmbda, _, _ = problem()
    lmbda = (-lmbda).requires_grad_()
    results = []
    for run in (steps, as_the_paper_writes_it):
        codes = run(None, y, C, D, lmbda)
        results.append([codes, *torch.autograd.grad(codes.square().sum(), lmbda)])
    for ours, papers in zip(*results, strict=True):
        torch.testing.assert_close(ours, papers, rtol=1e-9, atol=1e-9)
