"""What the non-local module has in float32 on a processor: Eq. 6 as torch makes it, and its gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.methods.networks.correlations import attended
from bench.methods.networks.nlrn import METRICS, NonLocalRecurrent, neighbours

from bench.measure.complexity import count_macs

B, H, W, LENGTH, WIDTH = 3, 9, 12, 5, 20
N = H * W


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def as_torch_makes_it(theta, psi, g, S, near):
    S = theta @ psi.mT if S is None else S + theta @ psi.mT
    return torch.softmax(S if near is None else S.masked_fill(~near, -torch.inf), -1) @ g, S


def twice(attend, inputs, near):
    """Two states, of which the second has the correlations of the first: the answers, and the gradients of all."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    theta, psi, g = leaves
    Z, S = attend(theta, psi, g, None, near)
    Z, S = attend(theta + Z[..., :LENGTH], psi, g * g, S, near)
    weights = torch.cos(torch.arange(WIDTH, dtype=Z.dtype))
    gradients = torch.autograd.grad((Z * weights).square().sum() + (S[..., :N] / N).square().sum(), leaves)
    return [Z.detach(), S[..., :N].detach(), *gradients]


INPUTS = [normal(B, N, LENGTH, seed=1), normal(B, N, LENGTH, seed=2), normal(B, N, WIDTH, seed=3)]


@pytest.mark.parametrize("q", [0, 5])
def test_it_is_the_softmax_of_correlations_and_so_are_its_gradients(q):
    near = neighbours(H, W, q) if q else None
    exact = twice(as_torch_makes_it, INPUTS, near)
    ours = twice(attended, [x.float() for x in INPUTS], near)
    for one, other in zip(ours, exact, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=2e-4, atol=2e-6 * other.abs().max().item())


def test_correlations_far_apart_have_weights_of_0_and_1():
    theta, psi = 60 * normal(1, N, LENGTH), 60 * normal(1, N, LENGTH, seed=1)
    want, _ = as_torch_makes_it(theta, psi, INPUTS[2][:1], None, None)
    Z, _ = attended(theta.float(), psi.float(), INPUTS[2][:1].float(), None, None)
    torch.testing.assert_close(Z.double(), want, rtol=0, atol=1e-2)  # correlations of 10^4 have few digits
    assert Z.isfinite().all()


def test_it_gives_the_same_bits_on_any_number_of_threads(monkeypatch):
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        results.append(twice(attended, [x.float() for x in INPUTS], None))
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


def test_a_nan_is_passed_on():
    inputs = [x.float() for x in INPUTS]
    inputs[2][1, 3, 4] = torch.nan
    Z, _, *gradients = twice(attended, inputs, None)
    assert Z[1].isnan().any()
    assert not Z[0].isnan().any()
    assert all(gradient.isnan().any() for gradient in gradients)


@pytest.mark.parametrize("metric", [metric for metric in METRICS if not metric.endswith("dot")])
@pytest.mark.parametrize("options", [{}, {"neighbourhood": 5}, {"propagate": False}, {"every": 2}])
def test_a_network_has_the_answers_and_gradients_of_float64(metric, options):
    torch.manual_seed(0)
    net = NonLocalRecurrent(1, n_steps=3, width=20, embedding=9, metric=metric, **options)
    for p in net.parameters():
        p.data += 0.05 * torch.randn_like(p)
    y, weights = torch.rand(2, 1, 11, 13), torch.randn(2, 1, 11, 13)
    results = []
    for dtype in (torch.float64, torch.float32):
        net.to(dtype).zero_grad()
        x = net(y.to(dtype))
        (x * weights.to(dtype)).square().sum().backward()
        results.append([x.detach(), *(p.grad.clone() for name, p in net.named_parameters() if "bias" not in name)])
    for exact, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-3, atol=1e-4 * exact.abs().max().item())


def test_its_products_are_counted():
    net = NonLocalRecurrent(1, n_steps=2, width=16, embedding=8)
    y = torch.rand(2, 1, 10, 12)
    counted = count_macs(lambda: net(y))
    assert counted == pytest.approx(2 * net.macs(120, 120 * 120), rel=0.02)
