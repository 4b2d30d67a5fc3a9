"""NSR: its size, Eq. 10 evaluated naively, how it trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bench.task import Setting
from methods.nsr import NSR, SparseConv2d, SparseResidual

GRAY = Setting("denoise", 25, 1)


def n_params(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("groups", "expected"), [(1, 1_187_334), (4, 4_871_686)])
def test_it_has_the_size_of_the_authors_colour_denoisers(groups, expected):
    assert n_params(SparseResidual(3, n_features=64, width=1, groups=groups)) == expected


@pytest.mark.parametrize(("variant", "kernels"), [("", 2 * 589_824), ("sparse-", 589_824), ("dense", 589_824)])
def test_sparse_minus_is_as_large_as_the_dense_network_and_sparse_plus_twice_that(variant, kernels):
    restorer = NSR(variant)
    restorer.prepare(GRAY, "cpu")
    assert sum(conv.v.numel() for pair in restorer.plain.body for conv in pair) == kernels
    assert kernels < restorer.n_params() < 1.07 * kernels


# --- Eq. 10, kernel by kernel ---


def test_a_sparse_convolution_mixes_kernels_by_eq_10():
    torch.manual_seed(0)
    n_in, n_out, k, d, tau = 5, 8, 3, 4, 0.5
    conv = SparseConv2d(n_in, n_out, groups=k, cardinality=d, temperature=tau).double().requires_grad_(False)
    for p in conv.parameters():
        p.normal_()
    X = torch.rand(2, n_in, 6, 7, dtype=torch.float64)
    got = conv(X)
    for n in range(2):
        logits = (conv.mlp.weight @ X[n].mean((1, 2)) + conv.mlp.bias).view(k, d)
        gamma = np.exp(logits.numpy() / tau)
        gamma /= gamma.sum(0)
        mixed_kernels, mixed_biases = [], []
        for j in range(d):
            kernel, bias = 0, 0
            for i in range(k):
                rows = slice(i * n_out + j * n_out // d, i * n_out + (j + 1) * n_out // d)
                v = conv.v[rows]
                W_ji = conv.g[rows] * v / v.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
                kernel, bias = kernel + gamma[i, j] * W_ji, bias + gamma[i, j] * conv.bias[rows]
            mixed_kernels.append(kernel)
            mixed_biases.append(bias)
        expected = nn.functional.conv2d(X[n : n + 1], torch.cat(mixed_kernels), torch.cat(mixed_biases), padding=1)
        torch.testing.assert_close(got[n : n + 1], expected)


def test_a_cardinality_that_does_not_divide_the_channels_is_named():
    with pytest.raises(ValueError, match="cardinality is 16, expected a divisor of the 24 output channels"):
        SparseConv2d(8, 24, groups=2, cardinality=16)


# --- training ---


@pytest.mark.parametrize("variant", ["", "sparse-", "dense"])
def test_training_steps_under_autocast_lower_the_loss_and_reach_every_parameter(variant):
    torch.manual_seed(0)
    restorer = NSR(variant)
    restorer.options = {"n_blocks": 2, "n_features": 16}
    net = restorer.network(GRAY).train()
    x = torch.rand(2, 1, 12, 12).round()
    y = x + 0.1 * torch.randn_like(x)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        with torch.autocast("cpu", torch.bfloat16):
            x_hat = restorer.estimate(net, y, None)
        loss = restorer.loss(x_hat.float(), x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
