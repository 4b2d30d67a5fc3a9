"""NLRN: its size, Eq. 6 evaluated naively, its variants, how it trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bench.task import Setting
from methods._attention import everywhere
from methods.nlrn import METRICS, NLRN, NonLocal, NonLocalRecurrent

GRAY = Setting("denoise", 25, 1)


def randomised(module):
    """With values that differ from those that training starts from: g and the last convolution are zero there."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.05 * torch.randn_like(p))
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 1.5)
    return module.eval().requires_grad_(False)


def n_params(module):
    return sum(p.numel() for p in module.parameters())


def test_it_has_the_330k_parameters_of_the_paper_which_counts_convolutions():
    restorer = NLRN()
    restorer.prepare(GRAY, "cpu")
    convolutions = sum(n_params(m) for m in restorer.plain.modules() if isinstance(m, nn.Conv2d))
    assert convolutions == 330_625
    assert restorer.n_params() == convolutions + 2 + 37 * 2 * 128


def test_the_purely_local_network_of_table_2_has_as_many():
    net = NonLocalRecurrent(every=0, width=135)
    assert sum(n_params(m) for m in net.modules() if isinstance(m, nn.Conv2d)) == pytest.approx(330_625, rel=0.001)


# --- Eq. 6, pixel by pixel, in NumPy and float64 ---


PHI = {  # Table 1, for the vectors X_i and X_j and what theta and psi make of them
    "embedded-gaussian": lambda X_i, X_j, theta, psi: np.exp(theta(X_i) @ psi(X_j)),
    "symmetric-gaussian": lambda X_i, X_j, theta, psi: np.exp(theta(X_i) @ theta(X_j)),
    "gaussian": lambda X_i, X_j, theta, psi: np.exp(X_i @ X_j),
    "embedded-dot": lambda X_i, X_j, theta, psi: theta(X_i) @ psi(X_j),
    "dot": lambda X_i, X_j, theta, psi: X_i @ X_j,
    "euclidean": lambda X_i, X_j, theta, psi: np.exp(-np.sum((X_i - X_j) ** 2) / len(X_i)),
}


@pytest.mark.parametrize("metric", METRICS)
def test_the_non_local_module_is_eq_6_with_a_skip_connection(metric):
    width, length, H, W = 6, 4, 3, 4
    module = randomised(NonLocal(width, length, metric).double())
    features = torch.rand(1, width, H, W, dtype=torch.float64)
    Z, _ = module(features, None, everywhere)

    conv = module.theta_psi_g
    kernels, biases = conv.weight[:, :, 0, 0].numpy(), conv.bias.numpy()
    theta, psi, g = (
        lambda x, rows=rows: kernels[rows] @ x + biases[rows]
        for rows in (slice(length), slice(length, 2 * length), slice(-width, None))
    )
    X = features[0].flatten(1).T.numpy()
    for i, Z_i in enumerate(Z[0].flatten(1).T.numpy()):
        weights = np.array([PHI[metric](X[i], X_j, theta, psi) for X_j in X])
        delta = len(X) if metric.endswith("dot") else weights.sum()  # a sum of products may be zero
        expected = X[i] + sum(phi_ij * g(X_j) for phi_ij, X_j in zip(weights, X, strict=True)) / delta
        np.testing.assert_allclose(Z_i, expected, rtol=1e-10)


def test_the_correlations_of_the_previous_state_are_added_before_they_are_normalised():
    module = randomised(NonLocal(6, 4, "embedded-gaussian").double())
    X, X_before = torch.rand(2, 1, 6, 3, 4, dtype=torch.float64)
    _, S = module(X_before, None, everywhere)
    Z, S_both = module(X, S, everywhere)
    theta, psi, g = (x.flatten(1, 2) for x in module.embed(X))
    assert torch.allclose(S_both, S + theta @ psi.transpose(1, 2))
    assert torch.allclose(Z, X + (torch.softmax(S_both, -1) @ g).transpose(1, 2).reshape(X.shape))


# --- training ---


def test_training_begins_with_the_identity():
    y = torch.rand(2, 1, 12, 12)
    assert torch.equal(NonLocalRecurrent(n_steps=3)(y), y)


@pytest.mark.parametrize(
    "options", [{}, {"metric": "dot"}, {"every": 2}, {"every": 0}, {"propagate": False}, {"tied": False}]
)
def test_training_steps_under_autocast_lower_the_loss_and_reach_every_parameter(options):
    torch.manual_seed(0)
    restorer = NLRN()
    restorer.options = {"n_steps": 4, "width": 16, "embedding": 8, **options}
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


def test_an_unknown_metric_is_named():
    with pytest.raises(ValueError, match="metric is 'cosine', expected one of embedded-gaussian"):
        NonLocalRecurrent(metric="cosine")
