"""The passes between products: PyTorch's own arithmetic, bfloat16's rounding included."""

from __future__ import annotations

import pytest
import torch
from bench.methods.networks import passes
from bench.methods.networks.passes import by_rows
from bench.methods.sparse.prox import relaxed_group_soft_threshold, soft_threshold

N, P = 700, 37  # more than one thread takes at a time


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_step_of_sc_is_its_threshold_rounded_as_pytorch_rounds(dtype):
    alpha, move, lmbda = normal(N, P), normal(N, P, seed=1).to(dtype), normal(P, seed=2).abs() / 2
    b, a = (torch.empty(N, P, dtype=dtype) for _ in range(2))
    B = alpha + move
    by_rows(passes.shrink, alpha, move, b, a, lmbda=lmbda)
    assert torch.equal(b, B.to(dtype))
    torch.testing.assert_close(alpha, soft_threshold(B, lmbda), rtol=1e-6, atol=1e-6)
    assert torch.equal(a, alpha.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_step_of_groupsc_is_its_threshold(dtype):
    alpha, move, lmbda = normal(N, P), normal(N, P, seed=1).to(dtype), normal(P, seed=2).abs() / 2
    norm2, mass = normal(N, P, seed=3).square().to(dtype), normal(N, 1, seed=4).square()
    b, q, a = (torch.empty(N, P, dtype=dtype) for _ in range(3))
    B = alpha + move
    by_rows(passes.move, alpha, move, b, q, lmbda=lmbda)
    assert torch.equal(alpha, B)
    assert torch.equal(q, b * b)
    by_rows(passes.group, alpha, norm2, mass.sqrt(), a, lmbda=lmbda)
    expected = relaxed_group_soft_threshold(B, lmbda, norm2.float(), mass)
    torch.testing.assert_close(alpha, expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_of_the_thresholds_does_not_depend_on_the_threads(monkeypatch):
    g, back, b, lmbda = (normal(5 * passes.ROWS, P, seed=seed) for seed in range(4))
    sums = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        sums.append(by_rows(passes.forget, g.clone(), back.clone(), b, lmbda=lmbda[0]))
    assert len(sums[0]) == 5
    assert all((ours == theirs).all() for ours, theirs in zip(*sums, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_is_not_a_number_stays_so(dtype):
    alpha, move, lmbda = normal(2, P), normal(2, P, seed=1).to(dtype), torch.ones(P)
    move[0, 3] = torch.nan
    b, a = (torch.empty(2, P, dtype=dtype) for _ in range(2))
    by_rows(passes.shrink, alpha, move, b, a, lmbda=lmbda)
    for x in (alpha, b, a):
        assert x.isnan().sum() == x[0, 3].isnan() == 1
