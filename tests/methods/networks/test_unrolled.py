"""The steps that training runs are those of the paper, and so are their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.methods.networks import similarity, unrolled
from bench.methods.networks.lista import gradient_step
from bench.methods.networks.on_gpu import dense_similarity, steps_on_gpu
from bench.methods.networks.similarity import Similarity
from bench.methods.networks.strips import are_strips
from bench.methods.networks.unrolled import steps
from bench.methods.sparse.prox import relaxed_group_soft_threshold, soft_threshold

from bench.measure.complexity import count_macs

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


@pytest.fixture
def strips(monkeypatch):
    """Whole rows of the grid as tiles, however much wider it is than the window."""
    monkeypatch.setattr(similarity, "WIDER", 100)
    similarity.tiles.cache_clear()
    yield
    similarity.tiles.cache_clear()


def by_strips(tensors, window, side=2):
    """The codes and the gradients of all leaves."""
    alpha, y, C, D, lmbda, kappa, M = tensors
    leaves = [x.detach().clone().requires_grad_() for x in (alpha, C, D, lmbda, kappa) if x is not None]
    *alpha, C, D, lmbda, kappa = leaves
    Sigma = Similarity.of(y * kappa, window, side, y.dtype)
    assert are_strips(Sigma.tiles)
    run = steps if y.dtype == torch.float32 else as_the_paper_writes_it
    codes = run(alpha[0] if alpha else None, y, C, D, lmbda, M, Sigma)
    weight = torch.cos(torch.arange(codes.shape[-1], dtype=y.dtype))
    return [codes.detach(), *torch.autograd.grad((codes * weight).square().sum(), leaves)]


@pytest.mark.parametrize("window", [3, 4, 20])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("from_zero", [False, True])
def test_strips_in_float32_are_the_steps_one_by_one_and_so_are_their_gradients(window, masked, from_zero, strips):
    tensors = problem()
    alpha, *others, M = tensors
    tensors = (None if from_zero else alpha, *others, M if masked else None)
    exact = by_strips(tensors, window)
    short = by_strips([x if x is None else x.float() for x in tensors], window)
    for ours, papers in zip(short, exact, strict=True):
        assert (papers != 0).any()
        torch.testing.assert_close(ours.double(), papers, rtol=1e-4, atol=1e-5 * float(papers.abs().max()))


@pytest.fixture(scope="module")
def crops():
    """Three images of 12 x 12 patches; codes that fill no whole vectors."""
    random = np.random.default_rng(3)

    def normal(*shape):
        return torch.from_numpy(random.standard_normal(shape, np.float32))

    D = normal(49, 77) / 12
    return [
        normal(3, 12, 12, 77),
        normal(3, 12, 12, 49),
        D + normal(49, 77) / 99,
        D,
        normal(2, 77).abs(),
        normal(49),
        None,
    ]


def test_strips_give_the_same_bits_on_any_number_of_threads(crops, monkeypatch):
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        results.append(by_strips(crops, 8, side=5))
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


def test_strips_pass_a_nan_on(crops):
    crops = [x if x is None else x.clone() for x in crops]
    crops[1][1, 4, 5, 6] = torch.nan
    codes, *gradients = by_strips(crops, 8, side=5)
    assert codes[1].isnan().any()
    assert not codes[0].isnan().any()  # no other image sees it
    assert all(gradient.isnan().any() for gradient in gradients)


def test_the_products_of_strips_are_counted(crops):
    alpha, y, C, D, lmbda, kappa, _ = crops
    Sigma = Similarity.of(y * kappa, 8, 5, y.dtype)
    pairs = sum(S.numel() for S in Sigma.Sigma)
    n, (m, p) = 3 * 12 * 12, D.shape
    assert count_macs(lambda: steps(alpha, y, C, D, lmbda, None, Sigma)) == len(lmbda) * p * (2 * n * m + pairs)


def test_without_gradients_the_codes_are_the_same(strips):
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
